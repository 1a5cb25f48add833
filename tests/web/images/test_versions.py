# SPDX-License-Identifier: Apache-2.0
"""The versions of an image on its page: pin, roll back, lock, keep, compare."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import pytest

from tests.support import factories
from tests.web.images.boxes import box, save
from tests.web.visitors import Visitor, leads_to, text_of
from webapp.extensions import db
from webapp.models import BootResource, BootSource, BootSourceCache, PackageList, Role

Visit = Callable[..., Visitor]
IMAGE = "/images/ubuntu/noble/amd64"
HTMX_HEADERS = {"HX_Request": "true"}
OLD, NEW = "20260105", "20260201"


@pytest.fixture
def noble(source: BootSource) -> BootResource:
    """Noble with a kernel, in two versions."""
    factories.selection(source)
    made = factories.boot_resource(
        {"boot-kernel": b"k1", "squashfs": b"r1"}, source_id=source.id, title="Ubuntu 24.04 LTS"
    )
    newer = factories.resource_set(made, {"boot-kernel": b"k2", "squashfs": b"r2"}, version=NEW)
    made.current_set_id = newer.id
    for one, text in zip(made.sets, (b"bash 5.1\nold 1\n", b"bash 5.2\nnew 1\n"), strict=True):
        one.packages_sha256 = str(one.id) * 64
        db.session.add(PackageList(sha256=one.packages_sha256, content=zlib.compress(text)))
    db.session.commit()
    return made


def act(visitor: Visitor, action: str, version: str = "") -> None:
    answer = visitor.post(f"{IMAGE}/versions", {"action": action, "version": version})
    assert leads_to(answer) == IMAGE


def current(resource: BootResource) -> str:
    db.session.expire_all()
    assert resource.current_set is not None
    return resource.current_set.version


def test_a_roll_back_is_confirmed_says_what_changes_and_pins(
    noble: BootResource, operator: Visitor
) -> None:
    page = operator.get(IMAGE)
    assert f'href="{IMAGE}/versions/{OLD}">Roll back' in page.text
    assert "Current" in text_of(page)
    asked = operator.get(f"{IMAGE}/versions/{OLD}")
    words = text_of(asked)
    assert "imports leave it at this version until you unpin it" in words
    assert "1 package changed, 1 package added, 1 package removed" in words
    assert "bash 5.2 5.1" in words
    assert current(noble) == NEW
    act(operator, "roll", OLD)
    assert current(noble) == OLD
    assert "Pinned" in text_of(operator.get(IMAGE))
    newer = text_of(operator.get(f"{IMAGE}/versions/{NEW}"))
    assert "Make current and pin" in newer
    act(operator, "roll", NEW)
    assert (current(noble), noble.pinned_at) == (NEW, None)


def test_an_image_that_is_pinned_says_which_update_waits(
    source: BootSource, noble: BootResource, operator: Visitor
) -> None:
    act(operator, "roll", OLD)
    words = text_of(operator.get("/images/"))
    assert "Update available, pinned" not in words  # the source has 20260105
    for row in db.session.query(BootSourceCache):
        row.version = "20260301"
    db.session.commit()
    assert "Update available, pinned: 20260301. Unpin it" in text_of(operator.get("/images/"))
    act(operator, "unpin")
    assert "Update available" not in text_of(operator.get("/images/"))


def test_what_is_locked_cannot_be_deleted_and_says_so(
    source: BootSource, noble: BootResource, operator: Visitor, visit: Visit
) -> None:
    administrator = visit(Role.ADMINISTRATOR)
    act(operator, "lock", OLD)
    refused = administrator.post(f"{IMAGE}/versions/{OLD}/delete")
    assert (refused.status_code, f"Version {OLD} of this image is locked." in refused.text) == (
        409,
        True,
    )
    assert administrator.post(f"{IMAGE}/delete").status_code == 409
    act(operator, "unlock", OLD)
    act(operator, "lock")
    page = administrator.get(IMAGE)
    assert "Locked: nothing removes it" in text_of(page)
    assert f'href="{IMAGE}/delete"' not in page.text
    assert administrator.post(f"{IMAGE}/delete").status_code == 409
    act(operator, "unlock")
    assert leads_to(administrator.post(f"{IMAGE}/versions/{OLD}/delete")) == IMAGE
    assert f"versions/{OLD}" not in administrator.get(IMAGE).text


def test_an_image_keeps_its_own_number_of_versions(noble: BootResource, operator: Visitor) -> None:
    keeping = f"{IMAGE}/versions/keeping"
    assert operator.post(keeping, {"keep_versions": "0"}).status_code == 422
    assert operator.post(keeping, {"keep_versions": "x"}).status_code == 422
    assert leads_to(operator.post(keeping, {"keep_versions": "5", "keep_days": ""})) == IMAGE
    db.session.expire_all()
    assert (noble.keep_versions, noble.keep_days) == (5, None)
    assert "one of the newest 5" in text_of(operator.get(IMAGE))


def test_viewers_see_versions_and_differences_and_change_nothing(
    noble: BootResource, viewer: Visitor
) -> None:
    page = viewer.get(IMAGE)
    assert OLD in text_of(page)
    assert 'name="action"' not in page.text
    assert "keep_versions" not in page.text
    assert "Roll back" not in viewer.get(f"{IMAGE}/versions/{OLD}").text
    for path in (
        f"{IMAGE}/versions",
        f"{IMAGE}/versions/keeping",
        f"{IMAGE}/versions/{OLD}/delete",
    ):
        assert viewer.post(path, {"action": "roll", "version": OLD}).status_code == 403
    assert current(noble) == NEW


def test_a_version_that_is_gone_is_not_found(noble: BootResource, operator: Visitor) -> None:
    assert operator.get(f"{IMAGE}/versions/1").status_code == 404
    assert operator.post(f"{IMAGE}/versions", {"action": "roll", "version": "1"}).status_code == 404


def test_deselecting_a_locked_image_does_not_announce_its_end(
    source: BootSource, noble: BootResource, operator: Visitor
) -> None:
    jammy = {"image": box(source, "ubuntu/jammy/amd64")}
    assert "moves to the bin" in operator.post("/images/pending", jammy, **HTMX_HEADERS).text
    act(operator, "lock", OLD)
    asked = text_of(operator.post("/images/pending", jammy, **HTMX_HEADERS))
    assert "stored and locked, stays" in asked
    assert "moves to the bin" not in asked
    assert leads_to(save(operator, jammy["image"])) == "/images/"
    words = text_of(operator.get("/images/"))
    assert f"No longer selected. Kept: version {OLD} is locked." in words
