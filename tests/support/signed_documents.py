# SPDX-License-Identifier: Apache-2.0
"""Keys of every kind, and documents they signed that were then changed byte by byte.

Whatever is smuggled into one carries the word EVIL.
"""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable
from datetime import UTC, datetime

from tests.support import signed
from tests.support.signed import SigningKey, clearsign, keyring_of, new_key

EVIL = b"evil-products"
INJECTED = b', "products": {"' + EVIL + b'": {}}'
BEGIN = b"-----BEGIN PGP SIGNED MESSAGE-----\n"
BEGIN_SIGNATURE = b"-----BEGIN PGP SIGNATURE-----\n"
END = b"-----END PGP SIGNATURE-----\n"
PAYLOAD = b"""{
 "format": "index:1.0",
 "updated": "Mon, 05 Jan 2026 10:00:00 +0000",
 "index": {}
}
"""
# What opens a text line in PAYLOAD at whose end something can be added.
UPDATED = b'"updated": "Mon, 05 Jan 2026 10:00:00 +0000"'
LOGIN_PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body></body></html>\n"
FAKE_STATUS = "\n[GNUPG:] GOODSIG 0123456789ABCDEF x\n[GNUPG:] VALIDSIG "

LONG_AGO = datetime(2020, 1, 1, 12, tzinfo=UTC)
NOW = datetime.now(UTC)


def publisher() -> SigningKey:
    """The key that is trusted."""
    return new_key()


def stranger() -> SigningKey:
    """A key that nobody trusts, under the publisher's own name."""
    return new_key(algorithm="nistp256")


def rsa() -> SigningKey:
    """A key of the kind that Ubuntu's streams use, only shorter."""
    return new_key(algorithm="rsa2048")


def retired() -> SigningKey:
    """A key that expired long ago; sign with it at LONG_AGO."""
    return new_key("Retired <retired@example.test>", made_at=LONG_AGO, expires="2d")


def stolen() -> SigningKey:
    """A key that its owner revoked; the thief still signs."""
    return signed.revoked(new_key("Stolen <stolen@example.test>"))


def weak() -> SigningKey:
    """A key too short to be safe."""
    return new_key("Weak <weak@example.test>", algorithm="rsa1024")


def beside(key: Callable[[], SigningKey]) -> Callable[[], bytes]:
    """A keyring of that key and the publisher's, so that one key in it can sign."""
    return lambda: keyring_of(publisher(), key())


@functools.cache
def good() -> bytes:
    """PAYLOAD as the publisher signed it."""
    return clearsign(publisher(), PAYLOAD)


@functools.cache
def forged() -> bytes:
    """What the stranger would like to be read instead."""
    return clearsign(stranger(), PAYLOAD.replace(UPDATED, UPDATED + INJECTED))


def padded(blank: bytes) -> bytes:
    """The live bypass of gpg 2.2: a line cut at 19,995 bytes, and blanks at its end ignored."""
    return good().replace(UPDATED + b",", UPDATED + b"," + blank * 20_100 + INJECTED[2:] + b",")


def signature_packets(document: bytes) -> bytes:
    """The binary signature of a clear-signed document."""
    armor = document[document.index(BEGIN_SIGNATURE) :].split(b"\n\n", 1)[1]
    return base64.b64decode(armor[: armor.index(b"\n=")])


def with_packets(document: bytes, binary: bytes) -> bytes:
    """The same text with other packets in its signature block."""
    text = document[: document.index(BEGIN_SIGNATURE)]
    # Without the checksum, gpg now and then takes the end of the armor for a part of it.
    check = b"=" + base64.b64encode(crc24(binary).to_bytes(3, "big")) + b"\n"
    return text + BEGIN_SIGNATURE + b"\n" + base64.encodebytes(binary) + check + END


def crc24(data: bytes) -> int:
    """The checksum of armor (RFC 4880, 6.1)."""
    crc = 0xB704CE
    for byte in data:
        crc ^= byte << 16
        for _ in range(8):
            crc = crc << 1 ^ (0x1864CFB if crc & 0x800000 else 0)
    return crc & 0xFFFFFF


def with_notation(text: str) -> bytes:
    """The good document with a note added to the part of the signature that is not signed.

    Anybody can do that without a key; the signature stays good.
    """
    old = signature_packets(good())
    assert old[0] == 0x88  # an old-format signature packet with one length octet
    name = b"note@example.test"
    value = text.encode()
    note = b"\x80\0\0\0" + len(name).to_bytes(2, "big") + len(value).to_bytes(2, "big")
    note += name + value
    subpacket = b"\xff" + (len(note) + 1).to_bytes(4, "big") + b"\x14" + note
    hashed_end = 2 + 6 + int.from_bytes(old[6:8], "big")
    unhashed = int.from_bytes(old[hashed_end : hashed_end + 2], "big") + len(subpacket)
    body = old[2:hashed_end] + unhashed.to_bytes(2, "big") + subpacket + old[hashed_end + 2 :]
    return with_packets(good(), b"\x89" + len(body).to_bytes(2, "big") + body)


def literal_packet(data: bytes) -> bytes:
    """Data as a text that OpenPGP carries in a packet of its own."""
    body = b"b\0\0\0\0\0" + data
    return b"\xcb" + bytes([len(body)]) + body


def encrypted(*options: str) -> bytes:
    """A message that only the publisher can read, signed inside when options say so."""
    key = publisher()
    with signed.Home(key.secret) as home:
        home.run("--quick-add-key", key.fingerprint, "cv25519", "encr")
        how = ("--trust-model", "always", "--recipient", key.fingerprint, "--armor", *options)
        return home.run(*how, "--encrypt", data=PAYLOAD)


def in_lines(document: bytes, line: bytes) -> bytes:
    """The document with a line put in right after the blank one that opens the text."""
    head, text = document.split(b"\n\n", 1)
    return head + b"\n\n" + line + b"\n" + text
