# SPDX-License-Identifier: Apache-2.0
"""A publisher signs with a new key: it's shown beside the old, and accepted by one action."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mirror.server import MirrorServer
from tests.support import factories, signed
from tests.support.signed import SigningKey
from tests.unit.stream_shapes.published import NOBLE, Stream
from webapp.errors import Conflict, Problem
from webapp.models import BootSource
from webapp.services.sources import refreshing, rekeying, selections, sources
from webapp.services.sources.drafts import SourceDraft

pytestmark = pytest.mark.usefixtures("region")


@pytest.fixture
def new_key() -> SigningKey:
    return signed.new_key("New <new@example.test>")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The keyrings that this server has."""
    found = tmp_path / "keyrings"
    found.mkdir()
    monkeypatch.setattr(rekeying, "KEYRING_FOLDER", found)
    return found


@pytest.fixture
def source(tmp_path: Path, signing_key: SigningKey, new_key: SigningKey) -> Iterator[BootSource]:
    """A source that was read, and whose stream another key signs since."""
    stream = Stream(tmp_path / "upstream", signing_key)
    stream.products = {NOBLE: stream.ubuntu()}
    with MirrorServer(stream.publish().root) as server:
        row = sources.add(SourceDraft(url=server.url, keyring_data=signing_key.public), "ada")
        assert refreshing.refresh(row).problem is None
        factories.selection(row)
        stream.key = new_key
        stream.publish()
        problem = refreshing.refresh(row).problem
        assert problem is not None
        assert problem.code == "signature-unknown-key"
        yield row


def test_the_new_key_is_shown_beside_the_old_and_accepted_by_one_action(
    source: BootSource, signing_key: SigningKey, new_key: SigningKey
) -> None:
    assert rekeying.is_due(source)
    shown = rekeying.propose(source, new_key.public)
    assert [key.fingerprint for key in shown.old] == [signing_key.fingerprint]
    assert [key.fingerprint for key in shown.new] == [new_key.fingerprint]
    assert shown.fingerprint == new_key.fingerprint
    assert source.keyring_data == signing_key.public  # nothing is saved yet
    rekeying.accept(source, shown.fingerprint, "ada", new_key.public)
    assert refreshing.refresh(source).problem is None
    assert not rekeying.is_due(source)
    assert source.signer_fingerprint == new_key.fingerprint
    assert len(selections.of_source(source.id)) == 1


def test_a_keyring_that_a_package_installed_is_found(
    source: BootSource, new_key: SigningKey, folder: Path
) -> None:
    (folder / "broken.gpg").write_bytes(b"no keyring")
    (folder / "new.gpg").write_bytes(new_key.public)
    shown = rekeying.propose(source)
    assert (shown.fingerprint, shown.found_in) == (new_key.fingerprint, str(folder / "new.gpg"))


def test_a_key_that_does_not_sign_the_stream_is_refused(
    source: BootSource, signing_key: SigningKey
) -> None:
    before = source.keyring_data
    with pytest.raises(Problem) as caught:
        rekeying.propose(source, signing_key.public)
    assert caught.value.code == "signature-unknown-key"
    with pytest.raises(Problem) as caught:
        rekeying.propose(source)
    assert (caught.value.code, "enter it" in caught.value.next_step) == ("keyring-missing", True)
    assert source.keyring_data == before


def test_another_key_than_the_one_that_was_shown_is_not_accepted(
    source: BootSource, signing_key: SigningKey, new_key: SigningKey
) -> None:
    with pytest.raises(Conflict):
        rekeying.accept(source, signing_key.fingerprint, "ada", new_key.public)
    assert source.keyring_data == signing_key.public
