# SPDX-License-Identifier: Apache-2.0
"""The schemas of /api/v1: every field typed, booleans named one way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel, JsonValue

from webapp.api.v1.reports import ReportItem
from webapp.api.v1.table import ENDPOINTS
from webapp.inspection import Declared, inspect

# Events of any kind share one table, and the values of settings one list.
FREE = {"EventResponse.detail"}
SETTINGS = {"SettingResponse.value", "SettingsRequest.values"}


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Every model in an annotation, with those of its fields."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from models(field.annotation)
    for part in get_args(annotation):
        yield from models(part)


def fields() -> dict[str, Any]:
    """Annotations of all fields that endpoints take and return, by model and name."""
    shapes = [s for e in ENDPOINTS for s in (e.query, e.body, e.answer) if s is not None]
    return {
        f"{model.__name__}.{name}": field.annotation
        for shape in shapes
        for model in models(shape)
        for name, field in model.model_fields.items()
    }


def holds(annotation: Any, wanted: Any) -> bool:
    return annotation is wanted or any(holds(part, wanted) for part in get_args(annotation))


def test_every_field_has_a_type() -> None:
    found = fields()
    assert len(found) > 200
    assert [name for name, annotation in found.items() if holds(annotation, Any)] == []
    assert {name for name, annotation in found.items() if holds(annotation, JsonValue)} == FREE
    assert [name for name, annotation in found.items() if annotation in (dict, list)] == []


def test_booleans_are_named_one_way() -> None:
    odd = [
        name
        for name, annotation in fields().items()
        if holds(annotation, bool)
        and not name.partition(".")[2].startswith(("is_", "has_", "can_"))
        and name not in SETTINGS
    ]
    assert odd == []


@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"verdict": "unknown", "words": "Gone.", "reasons": []},
        {"words": "gzip", "colour": "of a later version"},
        {"system": {"kind": "linux", "unread": {"3": "LVM"}}, "disk": None},
    ],
)
def test_a_stored_report_is_returned_as_it_is(stored: dict[str, Any]) -> None:
    assert ReportItem(**stored).model_dump(mode="json") in (
        stored,
        stored | {"system": {"kind": "linux", "unread": {3: "LVM"}}},
    )


def test_a_whole_report_is_returned_as_it_is() -> None:
    found = inspect([b"no image"], Declared("tgz")).as_dict()
    assert ReportItem(**found).model_dump() == found
