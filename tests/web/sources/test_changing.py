# SPDX-License-Identifier: Apache-2.0
"""Priority, switch and bindings on the pages: shown, made, undone."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlencode

import pytest
from flask import Flask

from tests.support import factories
from tests.web.sources.form import stored
from tests.web.visitors import Visitor, text_of
from webapp.models import BootSource, Role
from webapp.services.imports import runs
from webapp.services.sources import sources

Visit = Callable[..., Visitor]
IMAGE = {"os": "ubuntu", "release": "noble", "arch": "amd64"}


@pytest.fixture
def pair(region: Flask) -> tuple[BootSource, BootSource]:
    """Two sources that offer noble, the first one wins."""
    found = []
    for name, priority in (("high", 5), ("low", 1)):
        row = factories.boot_source(
            name=name, priority=priority, refreshed_at=factories.utcnow(), is_unsigned=True,
            keyring_filename="",
        )  # fmt: skip
        factories.cache_entry(row, version=str(priority))
        factories.selection(row)
        found.append(row)
    return found[0], found[1]


def test_a_priority_is_previewed_set_and_undone(
    administrator: Visitor, pair: tuple[BootSource, BootSource]
) -> None:
    low = pair[1].id
    asked = text_of(administrator.get(f"/sources/{low}/priority?priority=9"))
    assert "Set the priority of low to 9?" in asked
    assert "1 moved" in asked
    assert pair[1].priority == 1
    done = administrator.post(f"/sources/{low}/priority", {"priority": "9"})
    assert done.status_code == 303
    assert stored()[1].priority == 9
    assert "Last change: low: priority 1 to 9" in text_of(administrator.get("/sources/"))
    page = administrator.get("/sources/undo")
    assert "Undo “low: priority 1 to 9”?" in text_of(page)
    change = page.text.partition('name="change" value="')[2].partition('"')[0]
    assert administrator.post("/sources/undo", {"change": change}).status_code == 303
    assert stored()[1].priority == 1
    assert administrator.post("/sources/undo", {"change": change}).status_code == 409
    assert "Last change" not in text_of(administrator.get("/sources/"))
    assert administrator.get("/sources/undo").status_code == 303
    administrator.post(f"/sources/{low}/priority", {"priority": "-2"})
    assert stored()[1].priority == -2


@pytest.mark.parametrize("value", ["", "--1", "1e3", "10000000", "-1000001"])
def test_a_wrong_priority_is_refused(
    administrator: Visitor, pair: tuple[BootSource, BootSource], value: str
) -> None:
    answer = administrator.get(f"/sources/{pair[0].id}/priority?priority={value}")
    assert answer.status_code == 422
    assert "Enter a whole number from -1,000,000 to 1,000,000." in text_of(answer)


def test_disabling_is_shown_first_and_can_start_the_import(
    administrator: Visitor, pair: tuple[BootSource, BootSource]
) -> None:
    high = pair[0].id
    page = administrator.get(f"/sources/{high}/switch?on=no")
    assert "Disable high?" in text_of(page)
    assert "Disable boot source and import" in text_of(page)
    administrator.post(f"/sources/{high}/switch", {"on": "no", "import": "yes"})
    assert not stored()[0].is_enabled
    assert runs.current() is not None


def test_an_image_is_bound_and_unbound(
    administrator: Visitor, pair: tuple[BootSource, BootSource]
) -> None:
    values = IMAGE | {"source": str(pair[1].id)}
    asked = text_of(administrator.get(f"/sources/bind?{urlencode(values)}"))
    assert "Bind ubuntu/noble amd64 to low?" in asked
    assert "bound to low" in asked
    assert administrator.post("/sources/bind", values).status_code == 303
    offers = text_of(administrator.get("/sources/offers"))
    assert "bound to this source" in offers
    assert "the image is bound to low" in offers
    sources.switch(pair[1], False, "ada")
    offers = text_of(administrator.get("/sources/offers"))
    assert "bound to low, which is disabled; enable that source, or unbind the image" in offers
    unbound = IMAGE | {"source": ""}
    assert "Unbind" in text_of(administrator.get(f"/sources/bind?{urlencode(unbound)}"))
    assert administrator.post("/sources/bind", unbound).status_code == 303
    assert "Bound images" not in text_of(administrator.get("/sources/offers"))


def test_only_administrators_change_where_images_come_from(
    visit: Visit, pair: tuple[BootSource, BootSource]
) -> None:
    for role in (Role.VIEWER, Role.OPERATOR):
        visitor = visit(role)
        for path in (f"{pair[0].id}/priority", "bind", "undo"):
            assert visitor.get(f"/sources/{path}").status_code == 403
            assert visitor.post(f"/sources/{path}", {}).status_code == 403
        assert "/sources/bind" not in visitor.get("/sources/offers").text
