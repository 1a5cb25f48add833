# SPDX-License-Identifier: Apache-2.0
"""A folder as boot source: connected, refreshed and imported by the same rules as a mirror."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask

from tests.jobs.conftest import Lab, check_region, failures, images
from webapp.errors import InvalidFields
from webapp.extensions import db
from webapp.services.sources import refreshing, sources
from webapp.services.sources.drafts import SourceDraft


@pytest.fixture
def environ(environ: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """Folders below this test's are allowed."""
    return {**environ, "SLIPWAY_FILE_SOURCES": str(tmp_path)}


@pytest.fixture
def lab(region: Flask, make_lab: Callable[..., Lab]) -> Lab:
    """A source that is a folder; its server gets no request."""
    found = make_lab()
    found.source.url = f"file://{found.mirror.stream}/"
    found.select("noble")
    return found


@pytest.mark.both_databases
def test_a_folder_is_imported(lab: Lab) -> None:
    run = lab.run()
    assert (run.state, failures(run)) == ("succeeded", [])
    assert len(images()) >= 1
    assert lab.server.log == []
    check_region()


def test_connecting_shows_what_a_folder_offers(lab: Lab) -> None:
    draft = SourceDraft(
        url=f"{lab.mirror.stream.as_uri()}/streams/v1/index.sjson",
        keyring_data=lab.mirror.keyring.read_bytes(),
    )
    preview = sources.connect(draft, lab.source_id)
    assert preview.url == lab.source.url
    assert (preview.warnings, len(preview.offers) > 0) == ((), True)


def test_a_changed_file_of_a_folder_isnt_imported(lab: Lab) -> None:
    for path in lab.mirror.stream.glob("noble/**/squashfs"):
        content = bytearray(path.read_bytes())
        content[1] ^= 1
        path.write_bytes(content)
    run = lab.run()
    assert {failure.code for failure in failures(run)} == {"hash-mismatch"}
    check_region()


def test_a_medium_that_was_pulled_out_is_a_problem_in_words(lab: Lab) -> None:
    lab.run()
    held = images()
    os.rename(lab.mirror.stream, lab.mirror.stream.with_name("gone"))
    problem = refreshing.refresh(lab.source).problem
    assert problem is not None
    assert problem.what == "The file isn't in the folder."
    assert images() == held


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("file:///etc/", "isn't allowed as a boot source"),
        ("file://{root}/../", "means another folder"),
        ("file://{root}/%2e%2e/", "means another folder"),
        ("file://server/srv/", "names another machine"),
        ("file:///", "isn't allowed as a boot source"),
    ],
)
def test_folders_elsewhere_are_refused_when_they_are_entered(
    url: str, words: str, region: Flask, tmp_path: Path
) -> None:
    draft = SourceDraft(url=url.format(root=tmp_path), is_unsigned=True)
    with pytest.raises(InvalidFields) as caught:
        sources.connect(draft)
    assert words in " ".join(caught.value.fields["url"])


def test_a_mirror_of_a_source_may_be_a_folder_too(lab: Lab, tmp_path: Path) -> None:
    folder = lab.source.url
    lab.source.url, lab.source.mirrors = lab.server.source_url, [folder]
    db.session.commit()
    assert lab.run().state == "succeeded"
    check_region()
