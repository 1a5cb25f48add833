# SPDX-License-Identifier: Apache-2.0
"""A stream that goes back stays refused until a person accepts the state that was shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.mirror.server import MirrorServer
from tests.support import factories, signed
from tests.support.signed import SigningKey
from tests.unit.stream_shapes.published import DATE, LATER, NOBLE, Stream
from webapp.errors import Conflict
from webapp.extensions import db
from webapp.models import BootSource, BootSourceCache, Event
from webapp.services.sources import accepting, refreshing, selections, sources
from webapp.services.sources.accepting import ProductChange
from webapp.services.sources.drafts import SourceDraft
from webapp.trust.errors import SignatureProblem

pytestmark = pytest.mark.usefixtures("region")

JAMMY = NOBLE.replace("24.04", "22.04")


class Upstream(Stream):
    """A stream whose versions and dates a test sets."""

    def offer(self, date: str, **versions: str) -> None:
        """Publish releases with one version each."""
        self.dates = {"updated": date}
        self.products = {}
        for release, version in versions.items():
            product = self.ubuntu()
            items = {
                ftype: self.item(f"{release}/{version}/{ftype}", ftype)
                for ftype in ("boot-kernel", "boot-initrd", "squashfs")
            }
            product |= {"release": release, "versions": {version: {"items": items}}}
            self.products[NOBLE if release == "noble" else JAMMY] = product
        self.publish()


@pytest.fixture
def upstream(tmp_path: Path, signing_key: SigningKey) -> Upstream:
    return Upstream(tmp_path / "upstream", signing_key)


@pytest.fixture
def source(upstream: Upstream, signing_key: SigningKey) -> Iterator[BootSource]:
    """A source that was read at its newest state."""
    upstream.offer(LATER, noble="20261122", jammy="20261122")
    with MirrorServer(upstream.root) as server:
        row = sources.add(SourceDraft(url=server.url, keyring_data=signing_key.public), "ada")
        assert refreshing.refresh(row).problem is None
        factories.selection(row)
        yield row


def catalogue() -> dict[str, str]:
    db.session.expire_all()
    return {row.release: row.version for row in db.session.scalars(select(BootSourceCache))}


def refused(source: BootSource, code: str) -> None:
    """The check is refused, as often as it's tried, and the catalogue stays."""
    before = catalogue()
    for _ in range(2):
        problem = refreshing.refresh(source).problem
        assert problem is not None
        assert problem.code == code
    assert "accept this state" in problem.next_step
    assert catalogue() == before
    assert accepting.is_due(source)


def test_an_older_stream_is_shown_and_accepted_by_its_digest(
    source: BootSource, upstream: Upstream
) -> None:
    upstream.offer(DATE, noble="20261120")
    refused(source, "stream-rollback")
    shown = accepting.propose(source)
    assert shown.changes == (
        ProductChange(JAMMY, "stable", "gone", "20261122", ""),
        ProductChange(NOBLE, "stable", "older", "20261122", "20261120"),
    )
    assert catalogue() == {"noble": "20261122", "jammy": "20261122"}  # nothing is saved yet
    accepting.accept(source, shown.digest, "ada")
    assert catalogue() == {"noble": "20261120"}
    assert not accepting.is_due(source)
    assert refreshing.refresh(source).problem is None
    assert len(selections.of_source(source.id)) == 1
    (event,) = db.session.scalars(select(Event).where(Event.kind == "source.state_accepted"))
    assert (event.actor, event.detail["state"]) == ("ada", shown.digest)


def test_a_document_that_changed_under_its_date_is_accepted_likewise(
    source: BootSource, upstream: Upstream
) -> None:
    upstream.offer(LATER, noble="20261123")
    refused(source, "stream-changed-in-place")
    shown = accepting.propose(source)
    assert [(one.kind, one.after) for one in shown.changes] == [("gone", ""), ("newer", "20261123")]
    accepting.accept(source, shown.digest, "ada")
    assert catalogue() == {"noble": "20261123"}


def test_another_state_than_the_one_shown_is_refused(
    source: BootSource, upstream: Upstream
) -> None:
    upstream.offer(DATE, noble="20261120")
    refused(source, "stream-rollback")
    shown = accepting.propose(source)
    upstream.offer(DATE, noble="20261119")
    with pytest.raises(Conflict) as problem:
        accepting.accept(source, shown.digest, "ada")
    assert "Nothing was accepted" in problem.value.what
    assert catalogue() == {"noble": "20261122", "jammy": "20261122"}
    refused(source, "stream-rollback")


def test_what_is_accepted_still_has_to_be_signed(source: BootSource, upstream: Upstream) -> None:
    upstream.offer(DATE, noble="20261120")
    refused(source, "stream-rollback")
    digest = accepting.propose(source).digest
    upstream.key = signed.new_key("Other <other@example.test>")
    upstream.publish()
    with pytest.raises(SignatureProblem):
        accepting.accept(source, digest, "ada")
    assert catalogue() == {"noble": "20261122", "jammy": "20261122"}


def test_a_stream_that_did_not_go_back_has_nothing_to_accept(source: BootSource) -> None:
    with pytest.raises(Conflict):
        accepting.propose(source)


def test_a_source_that_was_changed_in_between_is_reviewed_again(
    source: BootSource, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.offer(DATE, noble="20261120")
    refused(source, "stream-rollback")
    digest, read = accepting.propose(source).digest, accepting._read

    def read_slowly(row: BootSource) -> object:
        found = read(row)
        sources.rank(row, 7, "bob")
        return found

    monkeypatch.setattr(accepting, "_read", read_slowly)
    with pytest.raises(Conflict):
        accepting.accept(source, digest, "ada")
    assert catalogue() == {"noble": "20261122", "jammy": "20261122"}
    kinds = set(db.session.scalars(select(Event.kind)))
    assert "source.state_accepted" not in kinds
