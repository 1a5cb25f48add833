# SPDX-License-Identifier: Apache-2.0
"""The bin on its page: see what was removed, restore it, or give it up after a question."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support import factories
from tests.web.visitors import Visitor, leads_to, text_of
from webapp.extensions import db
from webapp.models import BootResource, BootSource, BootSourceSelection, Role
from webapp.services.images import publishing
from webapp.services.images.keys import Key

Visit = Callable[..., Visitor]
ONE = "/images/bin/ubuntu/noble/amd64"


@pytest.fixture
def binned(source: BootSource) -> BootResource:
    """Noble, which ann deselected."""
    made = factories.boot_resource({"boot-kernel": b"k", "squashfs": b"r"}, source_id=source.id)
    key = Key(made.name, made.architecture)
    publishing.retire([(made.id, key, "no longer selected")], actor="ann")
    db.session.commit()
    return made


def is_served(resource: BootResource) -> bool:
    db.session.expire_all()
    return resource.current_set_id is not None


def test_a_removed_image_is_shown_with_its_time_and_restored_with_its_selection(
    binned: BootResource, operator: Visitor
) -> None:
    assert 'href="/images/bin/"' in operator.get("/images/").text
    words = text_of(operator.get("/images/bin/"))
    assert "2 bytes held" in words
    assert "in 23 h" in words
    assert "no longer selected (ann)" in words
    assert leads_to(operator.post(f"{ONE}/restore")) == "/images/"
    assert is_served(binned)
    assert "It's selected again." in text_of(operator.get("/images/"))
    [selection] = db.session.scalars(db.select(BootSourceSelection))
    assert (selection.release, selection.arches) == ("noble", ["amd64"])
    assert operator.post(f"{ONE}/restore").status_code == 404
    assert "The bin is empty" in text_of(operator.get("/images/bin/"))


def test_emptying_is_asked_first_and_only_administrators_may(
    binned: BootResource, visit: Visit
) -> None:
    admin, operator = visit(Role.ADMINISTRATOR), visit(Role.OPERATOR)
    assert operator.post("/images/bin/empty").status_code == 403
    assert operator.post(f"{ONE}/discard").status_code == 403
    page = text_of(admin.get("/images/bin/empty"))
    assert "Empty the bin?" in page
    assert "can't be undone" in page
    one = admin.get("/images/bin/empty?image=ubuntu/noble amd64")
    assert "for good?" in text_of(one)
    assert f'action="{ONE}/discard"' in one.text
    db.session.expire_all()
    assert binned.binned_at is not None
    assert leads_to(admin.post("/images/bin/empty")) == "/images/bin/"
    assert "The bin is empty" in text_of(admin.get("/images/bin/"))
    assert leads_to(admin.get("/images/bin/empty")) == "/images/bin/"
    assert admin.post(f"{ONE}/restore").status_code == 404


def test_viewers_see_the_bin_without_names_and_restore_nothing(
    binned: BootResource, visit: Visit
) -> None:
    viewer = visit(Role.VIEWER)
    words = text_of(viewer.get("/images/bin/"))
    assert "no longer selected" in words
    assert "(ann)" not in words
    assert "Restore" not in viewer.get("/images/bin/").text
    assert viewer.post(f"{ONE}/restore").status_code == 403
    assert not is_served(binned)
