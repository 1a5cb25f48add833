# SPDX-License-Identifier: Apache-2.0
"""``FILE.sig`` beside what machines fetch, and who signs it."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import delete, select

from tests.rack import images
from tests.rack.conftest import BASE
from tests.support.databases import counted
from tests.support.openssl import is_verified, openssl
from webapp.extensions import db, settings
from webapp.models import Blob, CodeCertificate, CodeSignature, ResourceFile
from webapp.services.mirror import codesigning, signatures
from webapp.trust.codesigning import Signer
from webapp.trust.errors import SigningProblem

KERNEL = images.FILES["boot-kernel"]
NAME = f"{BASE}/boot-kernel"


@pytest.fixture
def machine(make_app: Callable[[str], Flask]) -> Iterator[FlaskClient]:
    """A machine that boots from a region with an image."""
    app = make_app("rack")
    with app.app_context():
        images.image()
        yield app.test_client()


def fetched(machine: FlaskClient) -> bytes:
    answer = machine.get(f"{NAME}.sig")
    assert answer.status_code == 200
    return answer.data


@pytest.mark.both_databases
def test_openssl_verifies_what_a_machine_fetched(machine: FlaskClient, tmp_path: Path) -> None:
    early = machine.get(f"{NAME}.sig")
    assert (early.status_code, early.headers["Retry-After"]) == (503, "5")
    assert codesigning.reconcile() == 3
    assert codesigning.reconcile() == 0
    found = signatures.certificate()
    fingerprint, root = found.fingerprint, found.root
    assert is_verified(tmp_path, machine.get(NAME).data, fetched(machine), root)
    initrd = machine.get(f"{BASE}/boot-initrd").data
    assert not is_verified(tmp_path, initrd, fetched(machine), root)
    answer = machine.get(f"{NAME}.sig")
    assert answer.content_type == "application/pkcs7-signature"
    assert machine.get(f"{NAME}.sig", headers={"If-None-Match": answer.headers["ETag"]}).data == b""
    assert machine.get(f"{NAME}.sig.sig").status_code == 404
    assert machine.get(f"{BASE}/nothing.sig").status_code == 404
    secret = settings().data_dir / "signing" / f"{fingerprint}.asc"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert signatures.secrets() == {fingerprint: secret.read_bytes()}


@pytest.mark.both_databases
def test_what_is_new_is_signed_and_what_is_deleted_is_forgotten(machine: FlaskClient) -> None:
    codesigning.reconcile()
    images.image({"squashfs": b"x"}, name="ubuntu/jammy", release="jammy")
    assert codesigning.reconcile() == 1
    blob = db.session.scalars(select(Blob).where(Blob.size == 1)).one()
    db.session.execute(delete(ResourceFile).where(ResourceFile.blob_id == blob.id))
    db.session.execute(delete(Blob).where(Blob.id == blob.id))
    db.session.commit()
    assert len(db.session.scalars(select(CodeSignature)).all()) == 3


def test_ones_own_key_signs_from_the_next_minute_on(machine: FlaskClient, tmp_path: Path) -> None:
    codesigning.reconcile()
    first = signatures.certificate()
    openssl(
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=lab", "-days", "30"),
        *("-addext", "keyUsage=digitalSignature", "-addext", "extendedKeyUsage=codeSigning"),
        *("-keyout", tmp_path / "key", "-out", tmp_path / "crt"),
    )
    own = tmp_path / "own.pem"
    object.__setattr__(settings(), "imgverify_key", str(own))
    before = fetched(machine)
    assert codesigning.reconcile() == 0
    assert signatures.problem()["code"] == "signing-key-missing"
    assert fetched(machine) == before
    own.write_bytes((tmp_path / "key").read_bytes() + (tmp_path / "crt").read_bytes())
    assert codesigning.reconcile() == 3
    assert signatures.problem() == {}
    root = (tmp_path / "crt").read_bytes()
    assert is_verified(tmp_path, KERNEL, fetched(machine), root)
    assert first.fingerprint in signatures.secrets()
    object.__setattr__(settings(), "imgverify_key", "")
    assert codesigning.reconcile() == 3
    assert signatures.certificate() == first
    assert is_verified(tmp_path, KERNEL, fetched(machine), first.root)


def test_a_lost_secret_is_told_and_replaced_only_on_request(
    machine: FlaskClient, tmp_path: Path
) -> None:
    codesigning.reconcile()
    before, first = fetched(machine), signatures.certificate()
    [secret] = (settings().data_dir / "signing").iterdir()
    secret.rename(tmp_path / "secret")
    images.image({"squashfs": b"x"}, name="ubuntu/jammy", release="jammy")
    assert codesigning.reconcile() == 0
    problem = signatures.problem()
    assert (problem["code"], problem["where"]) == ("signing-key-unreadable", str(secret))
    assert "slipway mirror key --imgverify --rotate" in problem["next_step"]
    assert signatures.certificate() == first
    assert fetched(machine) == before
    (tmp_path / "secret").rename(secret)
    assert codesigning.reconcile() == 1
    assert signatures.problem() == {}
    secret.unlink()
    codesigning.request_key("ada")
    assert codesigning.reconcile() == 4
    assert codesigning.reconcile() == 0
    assert len(db.session.scalars(select(CodeCertificate)).all()) == 2
    assert is_verified(tmp_path, KERNEL, fetched(machine), signatures.certificate().root)
    assert not is_verified(tmp_path, KERNEL, fetched(machine), first.root)


def test_no_other_key_is_requested_while_ones_own_signs(machine: FlaskClient) -> None:
    object.__setattr__(settings(), "imgverify_key", "own.pem")
    with pytest.raises(SigningProblem) as caught:
        codesigning.request_key("ada")
    assert caught.value.code == "conflict"


@pytest.mark.both_databases
def test_what_is_deleted_while_it_is_signed_is_passed_over(
    machine: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign = Signer.sign

    def slowly(signer: Signer, sha256: str) -> bytes:
        gone = select(Blob.id).where(Blob.sha256 == hashlib.sha256(KERNEL).hexdigest())
        db.session.execute(delete(ResourceFile).where(ResourceFile.blob_id.in_(gone)))
        db.session.execute(delete(Blob).where(Blob.id.in_(gone)))
        db.session.commit()
        return sign(signer, sha256)

    monkeypatch.setattr(Signer, "sign", slowly)
    assert codesigning.reconcile() == 2
    assert signatures.problem() == {}
    assert len(db.session.scalars(select(CodeSignature)).all()) == 2


def test_nothing_unsigned_costs_no_arithmetic_and_a_known_signature_no_query(
    machine: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    codesigning.reconcile()
    before = fetched(machine)

    def load(*_args: object) -> None:
        raise AssertionError("the private key was read")

    monkeypatch.setattr(serialization, "load_pem_private_key", load)
    assert codesigning.reconcile() == 0
    assert signatures.problem() == {}
    with counted() as asked:
        assert fetched(machine) == before
    assert not [text for text in asked if "code_signature" in text], asked


def test_without_its_database_the_rack_gives_what_it_gave_before(
    machine: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    codesigning.reconcile()
    before = fetched(machine)
    db.session.remove()
    db.session.execute(db.text("ALTER TABLE code_signature RENAME TO gone"))
    db.session.commit()
    assert fetched(machine) == before
    assert machine.get(f"{BASE}/boot-initrd.sig").status_code == 503
