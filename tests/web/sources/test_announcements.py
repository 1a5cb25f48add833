# SPDX-License-Identifier: Apache-2.0
"""New releases of MAAS that publishers announce: shown while they're news, hidden on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.mirror.maker import Documents, Mirror, make_mirror
from tests.mirror.server import MirrorServer
from tests.support.signed import SigningKey
from tests.web.visitors import Visitor, text_of
from webapp.models import BootSource, Role, utcnow
from webapp.services.sources import announcing, refreshing, sources
from webapp.services.sources.drafts import SourceDraft
from webapp.services.system import live_settings

ANNOUNCES = "The publisher announces MAAS"
LISTED = "Its publisher announces MAAS"


@pytest.fixture
def upstream(tmp_path: Path, signing_key: SigningKey) -> Mirror:
    return make_mirror(
        tmp_path / "m", signing_key, releases=["noble"], arches=["amd64"], kernels=1, loaders=False,
        centos=False,
    )  # fmt: skip


@pytest.fixture
def source(region: Flask, upstream: Mirror, signing_key: SigningKey) -> Iterator[BootSource]:
    with MirrorServer(upstream) as server:
        draft = SourceDraft(url=server.source_url, keyring_data=signing_key.public)
        yield sources.add(draft, "ada")


def announce(upstream: Mirror, source: BootSource, version: str, message: str = "New") -> None:
    """Publish a notice, and read it."""

    def edit(documents: Documents) -> None:
        for notice in _notices(documents):
            notice |= {"maas_version": version, "message": message}

    upstream.publish(after=timedelta(hours=1), edit=edit)
    assert refreshing.refresh(source).problem is None
    assert source.notices == [{"maas_version": version, "message": message}]


def _notices(documents: Documents) -> Iterator[dict[str, Any]]:
    for document in documents.values():
        for product in document["products"].values():
            for version in product["versions"].values():
                for item in version["items"].values():
                    if "release_notification" in item:
                        yield item["release_notification"]


def test_it_is_shown_until_it_is_hidden_and_comes_back(
    upstream: Mirror,
    source: BootSource,
    visit: Callable[[Role], Visitor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = f"/sources/{source.id}"
    viewer, other = visit(Role.VIEWER), visit(Role.ADMINISTRATOR)

    def is_shown(visitor: Visitor = viewer) -> bool:
        shown = ANNOUNCES in text_of(visitor.get(page))
        assert (LISTED in text_of(visitor.get("/sources/"))) is shown
        assert (f"{page}/notices/dismiss" in visitor.get(page).text) is shown
        return shown

    announce(upstream, source, announcing.MAAS_VERSION)
    assert not is_shown()
    announce(upstream, source, "3.0.0")
    assert is_shown()
    path = f"{page}/notices/dismiss"
    assert viewer.post(path).status_code == 303
    assert not is_shown()
    assert is_shown(other)
    announce(upstream, source, "3.0.0", "Another text")
    assert is_shown()
    viewer.post(path)
    assert not is_shown()
    assert is_shown(other)
    for passed, comes_back in ((timedelta(days=13), False), (timedelta(days=14), True)):
        now = utcnow() + passed
        with monkeypatch.context() as patch:
            patch.setattr(announcing, "utcnow", lambda now=now: now)
            assert is_shown() is comes_back


def test_a_setting_switches_them_off(upstream: Mirror, source: BootSource, viewer: Visitor) -> None:
    announce(upstream, source, "3.0.0")
    for value in (False, True):
        live_settings.change("release_notifications", str(value), "ada")
        assert (ANNOUNCES in text_of(viewer.get(f"/sources/{source.id}"))) is value


@pytest.mark.parametrize(
    ("version", "is_newer"),
    [
        ("2.9.3", True),
        ("2.10", True),
        ("3", True),
        ("3.0.0~beta1", True),
        ("2.9.2", False),
        ("2.9", False),
        ("2.8.10", False),
        ("", False),
        ("soon", False),
    ],
)
def test_only_versions_newer_than_the_one_we_are_count(version: str, is_newer: bool) -> None:
    assert announcing.is_newer(version) is is_newer
