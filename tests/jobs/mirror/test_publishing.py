# SPDX-License-Identifier: Apache-2.0
"""Signing: what stays in service when it fails, who signs, and when."""

from __future__ import annotations

import stat
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select, update

from tests.jobs.mirror.test_offering import documents
from tests.rack import images
from tests.support import signed
from tests.support.signed import SigningKey as OtherKey
from webapp.extensions import db, settings
from webapp.models import Event, PublishedDocument, PublishedStream, SigningKey, utcnow
from webapp.services.mirror import keys, options, publishing
from webapp.streams.documents import parse_index
from webapp.trust.errors import SigningProblem
from webapp.trust.keyrings import load_keyring
from webapp.trust.signatures import Verified, verify_clearsigned

INDEX = "streams/v1/index.sjson"


def verified() -> Verified:
    """The index, checked against the keys that are given out."""
    return verify_clearsigned(documents()[INDEX], load_keyring(documents()["gpg.key"]), what="it")


def problem() -> str:
    db.session.expire_all()
    return str(db.session.get_one(PublishedStream, 1).problem.get("code", ""))


def kinds() -> list[str]:
    return list(db.session.scalars(select(Event.kind).where(Event.kind.startswith("mirror."))))


def test_the_secret_half_is_for_this_user_alone(region: Flask) -> None:
    publishing.reconcile()
    folder = settings().data_dir / "signing"
    [secret] = folder.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert b"PRIVATE KEY" in secret.read_bytes()
    assert b"PRIVATE" not in b"".join(documents().values())
    assert verified().fingerprint == secret.stem


@pytest.mark.both_databases
def test_nothing_is_signed_again_while_nothing_changes(region: Flask) -> None:
    images.image()
    assert publishing.reconcile()
    before = documents()
    assert not publishing.reconcile()
    images.publish()  # another serial of the same images
    assert not publishing.reconcile()
    assert documents() == before


def test_an_unchanged_stream_is_dated_again_each_day(region: Flask) -> None:
    publishing.reconcile()
    yesterday = utcnow() - timedelta(days=1, minutes=1)
    db.session.execute(update(PublishedStream).values(updated_at=yesterday))
    db.session.commit()
    assert publishing.reconcile()
    assert not publishing.reconcile()


def test_the_date_never_falls_even_if_the_clock_does(region: Flask) -> None:
    publishing.reconcile()
    ahead = (utcnow() + timedelta(hours=3)).replace(microsecond=0)
    db.session.execute(update(PublishedStream).values(updated_at=ahead))
    db.session.commit()
    images.image()
    assert publishing.reconcile()
    assert parse_index(verified().payload, where="it").updated == ahead + timedelta(seconds=1)


@pytest.mark.both_databases
def test_a_reader_that_is_under_way_still_gets_its_document(region: Flask) -> None:
    images.image()
    publishing.reconcile()
    old = {path: content for path, content in documents().items() if "images-" in path}
    images.image(name="ubuntu/jammy", release="jammy")
    publishing.reconcile()
    kept = {row.path: row.content for row in db.session.scalars(select(PublishedDocument))}
    assert len(old) == 3
    assert old.items() <= kept.items()
    db.session.execute(
        update(PublishedDocument)
        .where(PublishedDocument.replaced_at.is_not(None))
        .values(replaced_at=utcnow() - timedelta(days=40))
    )
    db.session.commit()
    images.image(name="ubuntu/focal", release="focal")
    publishing.reconcile()
    assert not old.keys() & set(db.session.scalars(select(PublishedDocument.path)))


@pytest.mark.both_databases
def test_turned_off_nothing_is_served_and_turned_on_it_comes_back(region: Flask) -> None:
    images.image()
    publishing.reconcile()
    first = parse_index(verified().payload, where="it").updated
    options.change("ada", is_on=False)
    assert documents() == {}
    assert not publishing.reconcile()
    options.change("ada", is_on=True)
    assert publishing.reconcile()
    again = parse_index(verified().payload, where="it").updated
    assert first is not None
    assert again is not None
    assert again > first


def test_two_workers_publish_one_stream(region: Flask) -> None:
    images.image()
    barrier = threading.Barrier(2)

    def work() -> None:
        with region.app_context():
            barrier.wait()
            publishing.reconcile()
            db.session.remove()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    publishing.reconcile()
    verified()
    assert len(keys.all_keys()) == 1
    assert sum("images-" in path for path in documents()) == 3


# -- keys


def test_the_next_key_is_known_to_readers_before_it_signs(region: Flask) -> None:
    publishing.reconcile()
    old = verified().fingerprint
    keys.request_rotation("ada")
    assert publishing.reconcile()
    [new] = {*load_keyring(documents()["gpg.key"]).fingerprints} - {old}
    assert verified().fingerprint == old
    with pytest.raises(SigningProblem, match="published already"):
        keys.request_rotation("ada")
    held = load_keyring(documents()["gpg.key"])  # what a reader stored in the meantime
    db.session.execute(
        update(SigningKey).where(SigningKey.fingerprint == new).values(signs_from=utcnow())
    )
    db.session.commit()
    assert publishing.reconcile()
    assert verify_clearsigned(documents()[INDEX], held, what="it").fingerprint == new
    db.session.execute(
        update(SigningKey)
        .where(SigningKey.fingerprint == new)
        .values(signs_from=utcnow() - keys.OVERLAP)
    )
    db.session.execute(
        update(SigningKey)
        .where(SigningKey.fingerprint == old)
        .values(signs_from=utcnow() - 3 * keys.OVERLAP)
    )
    db.session.commit()
    assert publishing.reconcile()
    assert load_keyring(documents()["gpg.key"]).fingerprints == (new,)


def test_a_key_can_be_replaced_at_once(region: Flask) -> None:
    publishing.reconcile()
    old = verified().fingerprint
    keys.request_rotation("ada")
    assert publishing.reconcile()
    assert verified().fingerprint == old
    keys.request_rotation("ada", now=True)
    assert publishing.reconcile()
    assert verified().fingerprint != old
    assert len(keys.all_keys()) == 2


def test_a_lost_key_leaves_the_stream_in_service_and_says_what_to_do(region: Flask) -> None:
    publishing.reconcile()
    before = documents()
    [secret] = (settings().data_dir / "signing").iterdir()
    secret.unlink()
    images.image()
    assert not publishing.reconcile()
    assert not publishing.reconcile()
    assert documents() == before
    assert problem() == "signing-failed"
    assert kinds().count("mirror.failed") == 1
    keys.request_rotation("ada", now=True)
    assert publishing.reconcile()
    assert problem() == ""


@pytest.mark.settings(sign_passphrase="correct horse")
def test_a_key_can_have_a_passphrase(region: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    assert publishing.reconcile()
    verified()
    object.__setattr__(settings(), "sign_passphrase", "wrong")
    images.image()
    assert not publishing.reconcile()
    assert problem() == "signing-failed"


# -- a signing command

SIGNER = """
import subprocess, sys
sys.exit(subprocess.run([
    "gpg", "--homedir", {home!r}, "--no-options", "--batch", "--yes", "--armor", "--digest-algo",
    "SHA512", "--pinentry-mode", "loopback", "--passphrase", "", *sys.argv[1:]]).returncode)
"""


@pytest.fixture
def command(tmp_path: Path, signing_key: OtherKey, region: Flask) -> Path:
    """A program that signs with a key of its own; the settings name it."""
    program, public = tmp_path / "sign.py", tmp_path / "public.asc"
    public.write_bytes(signing_key.public_armored)
    object.__setattr__(settings(), "sign_command", f"{sys.executable} '{program}'")
    object.__setattr__(settings(), "sign_key", str(public))
    return program


def test_a_command_can_sign(command: Path, signing_key: OtherKey) -> None:
    with signed.Home(signing_key.secret) as home:
        command.write_text(SIGNER.format(home=str(home.path)))
        assert publishing.reconcile()
    assert verified().fingerprint == signing_key.fingerprint
    assert not (settings().data_dir / "signing").exists()
    with pytest.raises(SigningProblem, match="aren't Slipway's"):
        keys.request_rotation("ada")


@pytest.mark.parametrize(
    "program",
    [
        "import sys; sys.exit(3)",
        "",
        "print('-----BEGIN PGP SIGNED MESSAGE-----')",
        "print('hello')",
    ],
    ids=["fails", "silent", "cut", "nonsense"],
)
def test_what_a_bad_command_writes_is_never_served(
    program: str, command: Path, signing_key: OtherKey
) -> None:
    with signed.Home(signing_key.secret) as home:
        command.write_text(SIGNER.format(home=str(home.path)))
        assert publishing.reconcile()
    before = documents()
    command.write_text(program)
    images.image()
    assert not publishing.reconcile()
    assert documents() == before
    assert problem() == "signing-failed"
