# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import signed
from tests.support.signed import (
    SigningKey,
    clearsign,
    dearmor,
    detach,
    keyring_of,
    new_key,
    opaque,
    revoked,
    with_revoked_subkey,
)
from tests.support.signed_cases import LOGIN_PAGE, LONG_AGO, NOW, retired, rsa, stolen, weak
from webapp.errors import Problem
from webapp.trust.errors import KeyringProblem
from webapp.trust.keyrings import MAX_BYTES, load_keyring, read_keyring


def key() -> SigningKey:
    return new_key()


def other() -> SigningKey:
    return new_key("Other <other@example.test>")


def indented() -> bytes:
    lines = key().public_armored.splitlines()
    return (
        b"Here is my key:\r\n\r\n" + b"".join(b"    " + line + b"\r\n" for line in lines) + b"bye"
    )


def without_a_line() -> bytes:
    lines = key().public_armored.split(b"\n")
    return b"\n".join(lines[:3] + lines[4:])


def forged_name() -> bytes:
    return key().public.replace(b"mirror@example.test", b"ubuntu@example.test")


def without_user_id() -> bytes:
    packet_length = 2 + key().public[1]
    return key().public[:packet_length]


READABLE: dict[str, tuple[Callable[[], bytes], Callable[[], list[SigningKey]]]] = {
    "binary": (lambda: key().public, lambda: [key()]),
    "armored": (lambda: key().public_armored, lambda: [key()]),
    "pasted with text around and indented": (indented, lambda: [key()]),
    "two armored blocks": (
        lambda: key().public_armored + b"\nand\n" + other().public_armored,
        lambda: [key(), other()],
    ),
    "two binary keys": (lambda: keyring_of(other(), key()), lambda: [other(), key()]),
    "one good beside an expired one": (
        lambda: keyring_of(retired(), key()),
        lambda: [retired(), key()],
    ),
    "one good beside a revoked one": (
        lambda: keyring_of(key(), stolen()),
        lambda: [key(), stolen()],
    ),
}


@pytest.mark.parametrize("name", READABLE)
def test_public_keys_are_read_in_every_usual_form(name: str) -> None:
    make, keys = READABLE[name]

    keyring = load_keyring(make())

    assert list(keyring.fingerprints) == [key.fingerprint for key in keys()]
    assert keyring.binary == keyring_of(*keys())
    assert load_keyring(keyring.binary) == keyring


REFUSED: dict[str, tuple[str, Callable[[], bytes]]] = {
    "nothing": ("keyring-empty", lambda: b""),
    "white space": ("keyring-empty", lambda: b" \r\n\t"),
    "too large": ("keyring-too-large", lambda: key().public * 5000),
    "private key": ("keyring-private", lambda: key().secret),
    "binary private key": ("keyring-private", lambda: dearmor(key().secret)),
    "private key after a public one": (
        "keyring-private",
        lambda: key().public_armored + key().secret,
    ),
    "binary private key after a public one": (
        "keyring-private",
        lambda: key().public + dearmor(key().secret),
    ),
    "private key behind a public key's lines": (
        "keyring-private",
        lambda: key().secret.replace(b"PRIVATE", b"PUBLIC"),
    ),
    "OpenSSH private key": (
        "keyring-private",
        lambda: b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----",
    ),
    "sign-in page": ("keyring-not-a-key", lambda: LOGIN_PAGE),
    "SSH key": ("keyring-not-a-key", lambda: b"ssh-ed25519 AAAAC3Nza admin@example.test"),
    "certificate": ("keyring-not-a-key", lambda: b"-----BEGIN CERTIFICATE-----\nMIIB\n"),
    "fingerprint": ("keyring-not-a-key", lambda: key().fingerprint.encode()),
    "fingerprint in groups": (
        "keyring-not-a-key",
        lambda: b"4A3C E3CD 565D 7EB5 C810 E2B9 7FF3 F408 476C F100\n",
    ),
    "keybox": ("keyring-not-a-key", lambda: b"\0\0\0\x20\1\1\0\2KBXf" + bytes(20)),
    "zeros": ("keyring-not-a-key", lambda: bytes(100)),
    "signed document": ("keyring-not-a-key", lambda: clearsign(key(), b"{}")),
    "detached signature": ("keyring-not-a-key", lambda: detach(key(), b"{}")),
    "binary signature": ("keyring-not-a-key", lambda: detach(key(), b"{}", options=())),
    "signed message": ("keyring-not-a-key", lambda: opaque(key(), b"{}", options=())),
    "user id before the key": ("keyring-not-a-key", lambda: b"\xb4\x01x" + key().public),
    "key and a compressed packet": (
        "keyring-not-a-key",
        lambda: key().public + b"\xc8\x02\x01\x00",
    ),
    "armor cut off": ("keyring-damaged", lambda: key().public_armored[:-30]),
    "armor with a line lost": (
        "keyring-damaged",
        lambda: b"\n".join(
            key().public_armored.split(b"\n")[:3] + key().public_armored.split(b"\n")[4:]
        ),
    ),
    "armor of nonsense": (
        "keyring-damaged",
        lambda: b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n%%%\n-----END PGP PUBLIC KEY BLOCK-----",
    ),
    "binary cut off": ("keyring-damaged", lambda: key().public[:-9]),
    "key of an unknown version": ("keyring-not-understood", lambda: b"\xc6\x06\x63\0\0\0\0\0"),
    "name changed by somebody else": ("key-invalid", forged_name),
    "key without a name": ("key-invalid", without_user_id),
    "expired": ("key-expired", lambda: retired().public),
    "revoked": ("key-revoked", lambda: stolen().public),
    "short RSA": ("key-weak", lambda: weak().public),
    "short DSA": ("key-weak", lambda: new_key("DSA <d@example.test>", algorithm="dsa1024").public),
    "created in the future": (
        "key-in-future",
        lambda: new_key(made_at=NOW + timedelta(days=90)).public,
    ),
    "only an expired subkey signs": (
        "key-expired",
        lambda: new_key(subkey="expired", made_at=LONG_AGO).public,
    ),
    "only a revoked subkey signs": (
        "key-revoked",
        lambda: with_revoked_subkey(new_key(subkey="good")).public,
    ),
    "revoked above its subkey": ("key-revoked", lambda: revoked(new_key(subkey="good")).public),
    "only certifies": ("key-cannot-sign", lambda: certify_only()),
}


def certify_only() -> bytes:
    with signed.Home() as home:
        home.run("--quick-generate-key", "Root <root@example.test>", "ed25519", "cert", "never")
        return home.run("--export")


@pytest.mark.parametrize("name", REFUSED)
def test_unusable_keyring_is_refused_for_its_reason(name: str) -> None:
    code, make = REFUSED[name]
    data = make()

    with pytest.raises(KeyringProblem) as refused:
        load_keyring(data)

    problem = refused.value
    assert problem.code == code
    assert all((problem.what, problem.expected, problem.got, problem.next_step))
    assert b"".join(key().secret.split()[10:12]).decode() not in str(problem)


def test_facts_of_a_key_are_shown() -> None:
    made_at = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    ending = new_key("Ünï: <u@example.test>", made_at=made_at, expires="30d")

    (info,) = load_keyring(ending.public).keys

    assert info.fingerprint == ending.fingerprint
    assert info.user_ids == ("Ünï: <u@example.test>",)
    assert info.created_at == made_at
    assert info.expires_at == made_at + timedelta(days=30)
    assert (info.is_revoked, info.is_expired, info.algorithm) == (False, False, "ed25519")


def test_facts_of_unusable_keys_are_shown_beside_a_usable_one() -> None:
    keyring = load_keyring(keyring_of(rsa(), retired(), stolen()))

    assert [info.algorithm for info in keyring.keys] == ["rsa2048", "ed25519", "ed25519"]
    assert [info.is_expired for info in keyring.keys] == [False, True, False]
    assert [info.is_revoked for info in keyring.keys] == [False, False, True]


def test_subkeys_stand_below_their_key() -> None:
    made = new_key(subkey="good")

    keyring = load_keyring(made.public)

    assert [sub.fingerprint for sub in keyring.keys[0].subkeys] == [made.subkey_fingerprint]
    assert keyring.fingerprints == (made.fingerprint,)
    assert not keyring.keys[0].can_sign
    assert keyring.keys[0].subkeys[0].can_sign


def test_key_counts_until_it_expires() -> None:
    ending = new_key("Ending <ending@example.test>", expires="2d").public
    now = datetime.now(UTC)

    load_keyring(ending, now=now + timedelta(days=1))
    with pytest.raises(KeyringProblem) as refused:
        load_keyring(ending, now=now + timedelta(days=3))

    assert refused.value.code == "key-expired"


def test_odd_user_id_cannot_play_with_a_screen() -> None:
    odd = new_key("a\npub:-:255:22\u202e\x1b[2J\u2028x\x85: <odd@example.test>")

    keyring = load_keyring(odd.public)

    assert keyring.fingerprints == (odd.fingerprint,)
    assert keyring.keys[0].user_ids[0].isprintable()
    assert "pub:-:255:22" in keyring.keys[0].user_ids[0]


def test_keyring_file_is_named_when_it_is_bad(tmp_path: Path) -> None:
    path = tmp_path / "ring.gpg"
    path.write_bytes(b"{}")

    with pytest.raises(KeyringProblem) as refused:
        read_keyring(str(path))

    assert refused.value.where == str(path)


def test_keyring_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "ring.gpg"
    path.write_bytes(key().public)

    assert read_keyring(str(path)) == load_keyring(key().public)


def test_debians_own_keyrings_are_understood() -> None:
    found = sorted(Path("/usr/share/keyrings").glob("debian-archive-*-stable.*"))
    if not found:
        pytest.skip("no Debian keyrings on this machine")

    for path in found:
        if path.stat().st_size < MAX_BYTES:
            assert all(info.user_ids for info in read_keyring(str(path)).keys)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damage_anywhere_is_refused_in_words_or_changes_no_key(data: st.DataObject) -> None:
    raw = data.draw(st.sampled_from((key().public, key().public_armored)))
    start = data.draw(st.integers(0, len(raw)))
    put = data.draw(st.binary(max_size=3))

    try:
        keyring = load_keyring(raw[:start] + put + raw[start + len(put) + 1 :])
    except Problem:
        return

    assert key().fingerprint in keyring.fingerprints


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_are_no_keyring(data: bytes) -> None:
    with pytest.raises(Problem):
        load_keyring(data)


# -- as base64 text


@pytest.mark.parametrize("form", ["one line", "lines", "no padding", "armored"])
def test_a_key_as_base64_text_is_a_key(form: str, signing_key: signed.SigningKey) -> None:
    binary = load_keyring(signing_key.public).binary
    text = {
        "one line": base64.b64encode(binary),
        "lines": base64.encodebytes(binary).replace(b"\n", b"\r\n  "),
        "no padding": base64.b64encode(binary).rstrip(b"="),
        "armored": base64.b64encode(signing_key.public),
    }[form]
    assert load_keyring(text).fingerprints == (signing_key.fingerprint,)


def test_a_private_key_as_base64_text_is_still_refused(signing_key: signed.SigningKey) -> None:
    for secret in (signing_key.secret, signed.dearmor(signing_key.secret)):
        with pytest.raises(KeyringProblem) as caught:
            load_keyring(base64.b64encode(secret))
        assert caught.value.code == "keyring-private"


@pytest.mark.parametrize("text", [b"aGVsbG8gd29ybGQsIHRoaXM=", b"A" * 5_000, b"mQ" + b"=" * 30])
def test_other_base64_text_is_no_key(text: bytes) -> None:
    with pytest.raises(KeyringProblem):
        load_keyring(text)
