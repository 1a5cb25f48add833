# SPDX-License-Identifier: Apache-2.0
"""The boxes of the page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import select

from tests.support import factories
from tests.web.visitors import Visitor
from webapp.extensions import db
from webapp.models import (
    Base,
    BootSource,
    BootSourceSelection,
)

Row = TypeVar("Row", bound=Base)


def offer(source: BootSource, **values: Any) -> None:
    title = f"Ubuntu {values['release_version']} LTS"
    factories.cache_entry(source, **{"title": title, "support_esm_eol": None, **values})


def box(source: BootSource, name: str) -> str:
    return f"{source.id}/{name}"


def boxes(page: str) -> dict[str, bool]:
    """Every box of the page and whether it is selected."""
    found = re.findall(r'<input type="checkbox" name="image" value="([^"]+)"( checked)?', page)
    return {value.partition("/")[2]: bool(checked) for value, checked in found}


def hidden(page: str, name: str) -> str:
    found = re.search(rf'<input type="hidden" name="{name}" value="([^"]*)"', page)
    assert found
    return found[1]


def selected() -> set[tuple[str, tuple[str, ...]]]:
    return {(row.release, tuple(row.arches)) for row in rows_of(BootSourceSelection)}


def rows_of(model: type[Row]) -> Sequence[Row]:
    """What is saved now, by whomever."""
    db.session.rollback()
    return db.session.scalars(select(model)).all()


def save(visitor: Visitor, *values: str, **form: str) -> Any:
    """Send the boxes as the page that is open now would."""
    form = {"base": hidden(visitor.get("/images/").text, "base"), **form}
    return visitor.post("/images/selection", {"image": list(values), **form})
