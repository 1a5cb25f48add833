# SPDX-License-Identifier: Apache-2.0
"""Which signed documents are accepted, inline and detached."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import signed_documents as documents
from tests.support.signed import clearsign, dearmor, detach, keyring_of, new_key, opaque
from tests.support.signed_cases import BAD, GOOD, Case
from tests.support.signed_documents import EVIL, PAYLOAD, good, publisher, rsa, stranger
from tests.unit.streams.signatures.refusing import refusal
from webapp.trust.errors import SignatureProblem
from webapp.trust.keyrings import Keyring, load_keyring
from webapp.trust.signatures import verify_clearsigned, verify_detached


def test_there_are_more_documents_than_the_promise_names() -> None:
    names = [case.name for case in GOOD + BAD]

    assert len(BAD) >= 57
    assert len(GOOD) >= 4
    assert len(names) == len(set(names))


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case.name)
def test_good_document_is_accepted_with_exactly_its_text(case: Case) -> None:
    keyring = load_keyring(case.keyring())

    verified = verify_clearsigned(case.make(), keyring, what="index.sjson")

    assert verified.payload == case.payload
    assert verified.fingerprint in keyring.fingerprints


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.name)
def test_bad_document_is_refused_for_its_reason(case: Case) -> None:
    keyring = load_keyring(case.keyring())
    raw = case.make()

    problem = refusal(lambda: verify_clearsigned(raw, keyring, what="index.sjson"))

    assert problem.code == case.code
    assert problem.where == "index.sjson"
    assert all((problem.what, problem.expected, problem.got, problem.next_step))
    assert EVIL.decode() not in str(problem)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damage_anywhere_is_refused_or_leaves_the_signed_text_alone(data: st.DataObject) -> None:
    raw = good()
    start = data.draw(st.integers(0, len(raw)))
    length = data.draw(st.sampled_from((0, 1, 1, 2, 30)))
    put = data.draw(st.one_of(st.binary(max_size=3), st.sampled_from((b"\n", b"-", b" ", b"\n\n"))))

    try:
        verified = verify_clearsigned(
            raw[:start] + put + raw[start + length :], load_keyring(publisher().public), what="x"
        )
    except SignatureProblem:
        return

    assert [line.rstrip() for line in verified.payload.split(b"\n")] == PAYLOAD.split(b"\n")


def test_wrong_key_names_who_signed_and_who_is_trusted(keyring: Keyring) -> None:
    problem = refusal(lambda: verify_clearsigned(documents.forged(), keyring, what="x"))

    assert stranger().fingerprint in problem.got
    assert publisher().fingerprint in problem.expected


def test_date_and_primary_fingerprint_are_those_of_the_signature() -> None:
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=2)
    key = new_key(subkey="good")

    verified = verify_clearsigned(
        clearsign(key, PAYLOAD, at=at), load_keyring(key.public), what="x"
    )

    assert verified.signed_at == at
    assert verified.fingerprint == key.fingerprint != key.subkey_fingerprint


def test_key_and_signature_count_until_the_moment_they_end() -> None:
    now = datetime.now(UTC)
    ending_key = new_key("Ending <ending@example.test>", expires="2d")
    ending_signature = clearsign(publisher(), PAYLOAD, options=["--default-sig-expire", "2d"])
    for raw, key, code in (
        (clearsign(ending_key, PAYLOAD), ending_key, "key-expired"),
        (ending_signature, publisher(), "signature-expired"),
    ):
        ring = load_keyring(key.public)

        verify_clearsigned(raw, ring, what="x", now=now + timedelta(days=1))
        problem = refusal(
            lambda raw=raw, ring=ring: verify_clearsigned(
                raw, ring, what="x", now=now + timedelta(days=3)
            )
        )

        assert problem.code == code


def test_size_is_checked_before_anything_else(keyring: Keyring) -> None:
    problem = refusal(
        lambda: verify_clearsigned(good(), keyring, what="x", max_bytes=len(good()) - 1)
    )

    assert problem.code == "signature-too-large"


# -- detached signatures
DETACHED_BAD = {
    "another document": ("signature-bad", lambda: detach(publisher(), b"{}\n")),
    "signed with its own line endings": (
        "signature-bad",
        lambda: detach(publisher(), PAYLOAD.replace(b"\n", b"\r\n")),
    ),
    "text mode": (
        "signature-wrong-type",
        lambda: detach(publisher(), PAYLOAD, options=["--armor", "--textmode"]),
    ),
    "unknown key": ("signature-unknown-key", lambda: detach(stranger(), PAYLOAD)),
    "SHA-1": ("signature-weak-hash", lambda: detach(rsa(), PAYLOAD, digest="SHA1")),
    "in the future": (
        "signature-in-future",
        lambda: detach(publisher(), PAYLOAD, at=documents.NOW + timedelta(days=9)),
    ),
    "nothing": ("signature-not-a-document", lambda: b""),
    "sign-in page": ("signature-not-a-document", lambda: documents.LOGIN_PAGE),
    "the signed document": ("signature-wrong-kind", good),
    "public key": ("signature-wrong-kind", lambda: publisher().public_armored),
    "binary public key": ("signature-malformed", lambda: publisher().public),
    "signed message": ("signature-malformed", lambda: opaque(publisher(), EVIL, options=())),
    "cut off": ("signature-cut-off", lambda: detach(publisher(), PAYLOAD)[:-50]),
    "text after": ("signature-malformed", lambda: detach(publisher(), PAYLOAD) + b"x"),
    "two of them": ("signature-malformed", lambda: detach(publisher(), PAYLOAD) * 2),
    "endless": ("signature-malformed", lambda: bytes([0x88, 0]) * 40_000),
    "empty packets": ("signature-malformed", lambda: bytes([0x88, 0]) * 40),
    "good beside a bad one": (
        "signature-bad",
        lambda: dearmor(detach(publisher(), PAYLOAD)) + dearmor(detach(publisher(), b"x")),
    ),
}


@pytest.mark.parametrize("options", [(), ("--armor",)])
@pytest.mark.parametrize("text", [PAYLOAD, b"", b"\0\xff\r\n" * 30_000, b"x" * 30_000])
def test_detached_signature_vouches_for_exactly_the_bytes(
    options: tuple[str, ...], text: bytes, keyring: Keyring
) -> None:
    signature = detach(publisher(), text, options=options)

    verified = verify_detached(text, signature, keyring, what="x")

    assert verified.payload == text
    assert refusal(lambda: verify_detached(text + b"\n", signature, keyring, what="x")).code == (
        "signature-bad"
    )


@pytest.mark.parametrize("name", DETACHED_BAD)
def test_bad_detached_signature_is_refused_for_its_reason(name: str) -> None:
    code, make = DETACHED_BAD[name]
    keyring = load_keyring(keyring_of(publisher(), rsa()))

    problem = refusal(lambda: verify_detached(PAYLOAD, make(), keyring, what="x"))

    assert problem.code == code
    assert all((problem.what, problem.expected, problem.got, problem.next_step))


def test_detached_document_is_bounded(keyring: Keyring) -> None:
    problem = refusal(lambda: verify_detached(b"xx", b"", keyring, what="x", max_bytes=1))

    assert problem.code == "signature-too-large"
