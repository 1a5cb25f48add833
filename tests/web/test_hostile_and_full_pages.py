# SPDX-License-Identifier: Apache-2.0
"""Pages full of what strangers wrote, and pages full of images."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from html.parser import HTMLParser

from flask import Flask

from tests.support import factories
from tests.support.databases import Queries
from tests.web.images.boxes import offer
from tests.web.visitors import Visitor
from webapp.extensions import db
from webapp.models import (
    BootResource,
    BootSourceCache,
    ImportFailure,
    ResourceFile,
    ResourceSet,
    utcnow,
)

Count = Callable[[], AbstractContextManager[Queries]]
HOSTILE = "<script>alert('x')</script>\"'><img src=x onerror=alert(1)>"


class Tags(HTMLParser):
    """What a browser would make of a page: its tags with the names of their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, set[str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name for name, _ in attrs}))


def test_what_a_mirror_says_is_text_and_never_markup(app: Flask, operator: Visitor) -> None:
    with app.app_context():
        source = factories.boot_source(
            name=HOSTILE, error_code="x", error_what=HOSTILE, error_next_step=HOSTILE,
            error_where=HOSTILE, error_got=HOSTILE, checked_at=utcnow(),
        )  # fmt: skip
        offer(source, release="noble", release_version="24.04", title=HOSTILE,
              release_title=HOSTILE, release_codename=HOSTILE)  # fmt: skip
        offer(source, os="evil", release=HOSTILE, release_version="1", title="", subarch="a")
        factories.selection(source)
        factories.boot_resource(source_id=source.id, title=HOSTILE, release="jammy")
        run = factories.import_run(state="partial", summary=HOSTILE)
        factories.saved(ImportFailure(run_id=run.id, image="ubuntu/noble", code="x",
                                      architecture="amd64/ga-24.04", what=HOSTILE,
                                      where=HOSTILE, source_url=HOSTILE))  # fmt: skip
        ids = source.id, run.id
    sent = {"image": f"{ids[0]}/ubuntu/noble/amd64"}
    for page in (
        operator.get("/images/"),
        operator.get("/images/ubuntu/jammy/amd64"),
        operator.post("/images/pending", sent),
        operator.get("/sources/"),
        operator.get(f"/sources/{ids[0]}"),
        operator.get("/imports/"),
        operator.get(f"/imports/{ids[1]}"),
    ):
        assert page.status_code == 200
        assert "alert(" in page.text
        tags = Tags(page.text).found
        assert not [tag for tag, _ in tags if tag == "img"]
        assert all("src" in names for tag, names in tags if tag == "script")
        assert not [names for _, names in tags if any(name.startswith("on") for name in names)]


def test_a_page_takes_the_same_queries_whatever_it_shows(
    app: Flask, viewer: Visitor, count_queries: Count
) -> None:
    with app.app_context():
        source = factories.boot_source(checked_at=utcnow())
        offer(source, release="noble", release_version="24.04")
        factories.selection(source, release="stored0")
        factories.boot_resource(source_id=source.id, release="stored0")
        source_id = source.id
    viewer.get("/images/")  # what is read once a process
    with count_queries() as few:
        assert viewer.get("/images/").status_code == 200
    fill(app, source_id, products=500, stored=200)
    with count_queries() as many:
        page = viewer.get("/images/")
    assert page.text.count('name="image"') >= 500
    assert page.text.count("Synced") + page.text.count("Will be deleted") >= 100  # one page
    assert len(many) == len(few), many
    for path in ("/images/ubuntu/stored1/amd64", "/sources/", f"/sources/{source_id}", "/imports/"):
        with count_queries() as queries:
            assert viewer.get(path).status_code == 200
        assert len(queries) <= len(few) + 4, (path, queries)


def fill(app: Flask, source_id: int, *, products: int, stored: int) -> None:
    """Add rows in bulk: that many products on offer and images stored."""
    with app.app_context():
        for number in range(products):
            db.session.add(
                BootSourceCache(
                    source_id=source_id,
                    product=f"p{number}",
                    os="ubuntu",
                    arch="amd64",
                    subarch="ga",
                    release=f"r{number}",
                    label="stable",
                    version="20260105",
                    size=3,
                    title=f"Ubuntu {number}",
                    release_title=f"{number}",
                    subarches=[],
                    answers_to=[],
                    items=[factories.item(name) for name in ("k", "i", "s")],
                )
            )
        blob = factories.blob()
        for number in range(1, stored + 1):
            release = f"stored{number}"
            resource = BootResource(
                name=f"ubuntu/{release}",
                architecture="amd64/ga",
                os="ubuntu",
                release=release,
                arch="amd64",
                subarch="ga",
                title=release,
                source_id=source_id,
            )
            made = ResourceSet(version="20260105", label="stable", completed_at=utcnow())
            made.files.append(ResourceFile(blob_id=blob.id, filename="squashfs", ftype="squashfs"))
            resource.sets.append(made)
            db.session.add(resource)
            db.session.flush()
            resource.current_set_id = made.id
        db.session.commit()
        db.session.remove()
