# SPDX-License-Identifier: Apache-2.0
"""Signatures of files for iPXE, as OpenSSL verifies them."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from tests.support.openssl import is_verified, openssl
from webapp.trust import codesigning
from webapp.trust.codesigning import CodeKey, Signer
from webapp.trust.errors import SigningProblem

CONTENT = bytes(range(256)) * 300
MARK = b"-----END CERTIFICATE-----\n"


@pytest.fixture(scope="module")
def key() -> CodeKey:
    return codesigning.new_key("Slipway on lab")


def root_of(key: CodeKey) -> bytes:
    return key.chain.pem.split(MARK)[-2] + MARK


def test_openssl_verifies_what_was_signed_by_its_digest(key: CodeKey, tmp_path: Path) -> None:
    signer, root = Signer(key), root_of(key)
    for content in (CONTENT, b""):
        signature = signer.sign(hashlib.sha256(content).hexdigest())
        assert is_verified(tmp_path, content, signature, root)
        assert not is_verified(tmp_path, content + b"x", signature, root)
    other = root_of(codesigning.new_key("another"))
    assert not is_verified(tmp_path, b"", signature, other)


def test_the_form_is_what_ipxe_reads(key: CodeKey, tmp_path: Path) -> None:
    signature = Signer(key).sign(hashlib.sha256(CONTENT).hexdigest())
    (tmp_path / "file.sig").write_bytes(signature)
    text = openssl("cms", "-cmsout", "-print", "-inform", "DER", "-in", tmp_path / "file.sig")
    assert "eContent: <ABSENT>" in text
    assert re.search(r"signedAttrs:\s+<ABSENT>", text)
    assert "algorithm: sha256 (" in text
    assert "algorithm: rsaEncryption (" in text
    assert text.count("d.issuerAndSerialNumber") == 1
    (tmp_path / "crt").write_bytes(key.chain.pem)
    shown = openssl("x509", "-in", tmp_path / "crt", "-noout", "-text")
    assert "Digital Signature\n" in shown
    assert "Code Signing\n" in shown


def test_a_key_that_openssl_made_can_be_used(tmp_path: Path) -> None:
    openssl(
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=lab", "-days", "30"),
        *("-addext", "keyUsage=digitalSignature", "-addext", "extendedKeyUsage=codeSigning"),
        *("-keyout", tmp_path / "key", "-out", tmp_path / "crt"),
    )
    pem = (tmp_path / "key").read_bytes() + (tmp_path / "crt").read_bytes()
    own = codesigning.read_key(pem, where="own.pem")
    signature = Signer(own).sign(hashlib.sha256(CONTENT).hexdigest())
    assert is_verified(tmp_path, CONTENT, signature, root_of(own))


def test_keys_that_are_of_no_use_are_refused(key: CodeKey, tmp_path: Path) -> None:
    leaf, root, _ = key.chain.pem.split(MARK)
    openssl("genpkey", "-algorithm", "ed25519", "-out", tmp_path / "key")
    for pem in (
        b"",
        b"\0" * 100,
        key.secret,
        key.chain.pem,
        key.secret + codesigning.new_key("another").chain.pem,
        key.secret + root + MARK + leaf + MARK,
        (tmp_path / "key").read_bytes() + key.chain.pem,
    ):
        with pytest.raises(SigningProblem) as caught:
            codesigning.read_key(pem, where="own.pem")
        assert caught.value.where == "own.pem"
    assert codesigning.read_key(key.secret + key.chain.pem, where="x").chain == key.chain
