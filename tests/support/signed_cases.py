# SPDX-License-Identifier: Apache-2.0
"""Documents that a verifier has to judge, as data: every one made with real keys by real gpg.

``GOOD`` have to be accepted with exactly their payload, ``BAD`` refused with
their code. Those that try to smuggle something in do it with the word EVIL.
"""

from __future__ import annotations

import base64
import functools
import gzip
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tests.support import signed
from tests.support.signed import SigningKey, clearsign, detach, keyring_of, new_key, opaque

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


@dataclass(frozen=True)
class Case:
    """One document, the keyring to judge it by, and the code it must get ("" = accepted)."""

    name: str
    code: str
    make: Callable[[], bytes]
    keyring: Callable[[], bytes] = lambda: publisher().public
    payload: bytes = PAYLOAD


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


GOOD = (
    Case("plain", "", good),
    Case("rsa with SHA-256", "", lambda: clearsign(rsa(), PAYLOAD, digest="SHA256"),
         lambda: rsa().public),
    Case("SHA-384", "", lambda: clearsign(publisher(), PAYLOAD, digest="SHA384")),
    Case("signing subkey", "", lambda: clearsign(new_key(subkey="good"), PAYLOAD),
         lambda: new_key(subkey="good").public),
    Case("key roll-over, the other key unknown", "",
         lambda: clearsign([publisher(), stranger()], PAYLOAD)),
    Case("key roll-over, the unknown key first", "",
         lambda: clearsign([stranger(), publisher()], PAYLOAD)),
    Case("two trusted keys", "", lambda: clearsign([publisher(), rsa()], PAYLOAD), beside(rsa)),
    Case("one of several keys", "", good, beside(stranger)),
    Case("lines ended as on Windows", "", lambda: good().replace(b"\n", b"\r\n"),
         payload=PAYLOAD.replace(b"\n", b"\r\n")),
    Case("lines that begin with dashes", "", lambda: clearsign(publisher(), b"-\n- a\n-----b\n"),
         payload=b"-\n- a\n-----b\n"),
    Case("white space at the end of lines", "", lambda: clearsign(publisher(), b"{ \n} \t\n"),
         payload=b"{\n}\n"),
    Case("no line feed at the end", "", lambda: clearsign(publisher(), b"{}"), payload=b"{}\n"),
    Case("empty lines and spaces after the end", "", lambda: good() + b"\r\n \t\n\n"),
    Case("comments in the signature block", "",
         lambda: good().replace(BEGIN_SIGNATURE, BEGIN_SIGNATURE + b"Version: 1\nComment: x\n")),
    Case("no checksum in the signature block", "",
         lambda: with_packets(good(), signature_packets(good()))),
    Case("line just short enough", "",
         lambda: clearsign(publisher(), b'{"a": "' + b"x" * 18_900 + b'"}\n'),
         payload=b'{"a": "' + b"x" * 18_900 + b'"}\n'),
    Case("signed 23 hours ahead", "",
         lambda: clearsign(publisher(), PAYLOAD, at=NOW + timedelta(hours=23))),
    Case("signature that will expire", "",
         lambda: clearsign(publisher(), PAYLOAD, options=["--default-sig-expire", "5y"])),
    Case("user id that looks like gpg's status", "",
         lambda: clearsign(new_key("Odd" + FAKE_STATUS), PAYLOAD),
         lambda: new_key("Odd" + FAKE_STATUS).public),
    Case("user id with other line separators", "",
         lambda: clearsign(new_key("Odd\u2028[GNUPG:] BADSIG x\x85[GNUPG:] ERROR x"), PAYLOAD),
         lambda: new_key("Odd\u2028[GNUPG:] BADSIG x\x85[GNUPG:] ERROR x").public),
    Case("unsigned note that looks like gpg's status", "",
         lambda: with_notation("x" + FAKE_STATUS + "\u2028[GNUPG:] REVKEYSIG x")),
    Case("long unsigned note", "", lambda: with_notation("x" * 9_000)),
    Case("UTF-8 in the text", "", lambda: clearsign(publisher(), '{"a": "é€😀"}\n'),
         payload='{"a": "é€😀"}\n'.encode()),
)  # fmt: skip

NOT_SIGNED = (
    Case("nothing", "signature-not-a-document", lambda: b""),
    Case("white space", "signature-not-a-document", lambda: b" \r\n\t\n"),
    Case("sign-in page", "signature-not-a-document", lambda: LOGIN_PAGE),
    Case("page after a comment", "signature-not-a-document", lambda: b"<!-- x --><HTML></HTML>"),
    Case("XML error", "signature-not-a-document", lambda: b"<?xml version='1.0'?><Error/>"),
    Case("compressed good document", "signature-not-a-document", lambda: gzip.compress(good())),
    Case("binary zeros", "signature-not-a-document", lambda: bytes(1000)),
    Case("binary signed message", "signature-not-a-document",
         lambda: opaque(publisher(), PAYLOAD, options=())),
    Case("JSON", "signature-missing", lambda: PAYLOAD),
    Case("JSON list", "signature-missing", lambda: b"[]"),
    Case("text", "signature-missing", lambda: b"It works!\n"),
    Case("public key", "signature-wrong-kind", lambda: publisher().public_armored),
    Case("private key", "signature-wrong-kind", lambda: publisher().secret),
    Case("detached signature", "signature-wrong-kind", lambda: detach(publisher(), PAYLOAD)),
    Case("message signed as a whole", "signature-wrong-kind", lambda: opaque(publisher(), PAYLOAD)),
    Case("encrypted message", "signature-wrong-kind", encrypted),
    Case("encrypted and signed message", "signature-wrong-kind", lambda: encrypted("--sign")),
)  # fmt: skip

AROUND = (
    Case("byte order mark before", "signature-text-before", lambda: b"\xef\xbb\xbf" + good()),
    Case("empty line before", "signature-text-before", lambda: b"\n" + good()),
    Case("space before", "signature-text-before", lambda: b" " + good()),
    Case("text before", "signature-text-before", lambda: b"Hello\n" + good()),
    Case("other JSON before", "signature-text-before",
         lambda: b'{"products": {"' + EVIL + b'": {}}}\n' + good()),
    Case("NUL before", "signature-text-before", lambda: b"\0" + good()),
    Case("text after", "signature-text-after", lambda: good() + b"bye\n"),
    Case("text right after the dashes", "signature-text-after", lambda: good().rstrip() + b" bye"),
    Case("other JSON after", "signature-text-after", lambda: good() + INJECTED),
    Case("NUL after", "signature-malformed", lambda: good() + b"\0"),
    Case("form feed after", "signature-text-after", lambda: good() + b"\f"),
    Case("the same document twice", "signature-several", lambda: good() + good()),
    Case("good, then forged", "signature-several", lambda: good() + forged()),
    Case("forged, then good", "signature-several", lambda: forged() + good()),
    Case("good, then a signed message", "signature-several",
         lambda: good() + opaque(publisher(), EVIL)),
    Case("good, then a key", "signature-several", lambda: good() + publisher().public_armored),
    Case("unfinished frame around the good one", "signature-several",
         lambda: BEGIN + b"\n" + EVIL + b"\n" + good()),
    Case("good inside a forged text", "signature-unknown-key",
         lambda: clearsign(stranger(), EVIL + b"\n" + good())),
    Case("blanks at the end of the BEGIN line", "signature-malformed",
         lambda: good().replace(b"MESSAGE-----\n", b"MESSAGE----- \n", 1)),
)  # fmt: skip

INSIDE = (
    Case("20,100 spaces, then products", "signature-long-line", lambda: padded(b" ")),
    Case("20,100 tabs, then products", "signature-long-line", lambda: padded(b"\t")),
    Case("20,100 spaces after the end", "signature-long-line",
         lambda: good() + b" " * 20_100 + INJECTED),
    Case("20,100 spaces in an armor header", "signature-long-line",
         lambda: good().replace(b"Hash: SHA512", b"Hash: SHA512" + b" " * 20_100 + INJECTED)),
    Case("text between the headers", "signature-malformed",
         lambda: good().replace(b"Hash: SHA512\n", b"Hash: SHA512\n" + INJECTED + b"\n")),
    Case("other armor header", "signature-malformed",
         lambda: good().replace(b"Hash: SHA512\n", b"Hash: SHA512\nComment: " + INJECTED + b"\n")),
    Case("header that turns off dash escaping", "signature-malformed",
         lambda: good().replace(b"Hash: SHA512", b"NotDashEscaped: You need GnuPG")),
    Case("line of blanks for an empty line", "signature-malformed",
         lambda: good().replace(b"SHA512\n\n", b"SHA512\n \t\n" + INJECTED + b"\n\n", 1)),
    Case("no empty line after the headers", "signature-malformed",
         lambda: good().replace(b"SHA512\n\n", b"SHA512\n", 1)),
    Case("NUL in the text", "signature-malformed",
         lambda: good().replace(UPDATED, UPDATED + b"\0")),
    Case("dash not escaped", "signature-malformed", lambda: in_lines(good(), b"-x")),
    Case("BEGIN line inside the text", "signature-several",
         lambda: in_lines(good(), BEGIN.rstrip())),
    Case("text in the signature block", "signature-malformed",
         lambda: good().replace(BEGIN_SIGNATURE, BEGIN_SIGNATURE + INJECTED + b"\n")),
    Case("text before the END line", "signature-malformed",
         lambda: good().replace(END, INJECTED + b"\n" + END)),
    Case("END line of another kind", "signature-malformed",
         lambda: good().replace(END, b"-----END PGP MESSAGE-----\n")),
    Case("literal text among the signatures", "signature-malformed",
         lambda: with_packets(good(), literal_packet(EVIL) + signature_packets(good()))),
    Case("whole signed message as signature", "signature-malformed",
         lambda: with_packets(good(), opaque(publisher(), EVIL, options=["-z", "0"]))),
    Case("compressed packet as signature", "signature-malformed",
         lambda: with_packets(good(), opaque(publisher(), EVIL, options=["-z", "6"]))),
    Case("key among the signatures", "signature-malformed",
         lambda: with_packets(good(), signature_packets(good()) + publisher().public)),
    Case("no signature in the block", "signature-malformed", lambda: with_packets(good(), b"")),
    Case("signature packet cut off", "signature-malformed",
         lambda: with_packets(good(), signature_packets(good())[:-1])),
    Case("seventeen signatures", "signature-malformed",
         lambda: with_packets(good(), signature_packets(good()) * 17)),
    Case("endless signature block", "signature-malformed",
         lambda: with_packets(good(), signature_packets(good()) * 1000)),
    Case("checksum of another block", "signature-unreadable",
         lambda: good()[: good().rindex(b"\n=")] + b"\n=AAAA\n" + END),
    Case("cut off in the text", "signature-cut-off", lambda: good()[:120]),
    Case("cut off in the signature", "signature-cut-off", lambda: good()[:-60]),
    Case("cut off in the END line", "signature-malformed", lambda: good()[:-10]),
)  # fmt: skip

ALTERED = (
    Case("one digit changed", "signature-bad", lambda: good().replace(b"2026", b"2027", 1)),
    Case("line added", "signature-bad", lambda: in_lines(good(), b'"x": "' + EVIL + b'",')),
    Case("line removed", "signature-bad", lambda: good().replace(b' "index": {}\n', b"")),
    Case("products added", "signature-bad",
         lambda: good().replace(UPDATED, UPDATED + INJECTED)),
    Case("space at the beginning of a line", "signature-bad",
         lambda: good().replace(b' "format', b'  "format')),
    Case("signature of another document", "signature-bad",
         lambda: with_packets(good(), signature_packets(clearsign(publisher(), b"{}\n")))),
    Case("last bit of the signature flipped", "signature-bad",
         lambda: with_packets(good(), signature_packets(good())[:-1]
                              + bytes([signature_packets(good())[-1] ^ 1]))),
    Case("other hash in the header", "signature-unreadable",
         lambda: good().replace(b"Hash: SHA512", b"Hash: SHA256")),
    Case("unknown hash in the header", "signature-unreadable",
         lambda: good().replace(b"Hash: SHA512", b"Hash: SHA999")),
    Case("signature of an unknown version", "signature-unreadable",
         lambda: with_packets(good(), b"\x88\x13\x63" + bytes(18))),
    Case("signature that covers no text", "signature-wrong-type",
         lambda: with_packets(good(), signed.dearmor(detach(publisher(), PAYLOAD[:-1].replace(
             b"\n", b"\r\n"))))),
)  # fmt: skip

KEYS = (
    Case("unknown key under the trusted name", "signature-unknown-key", forged),
    Case("two unknown keys", "signature-unknown-key",
         lambda: clearsign([stranger(), rsa()], PAYLOAD)),
    Case("key since taken out of the keyring", "signature-unknown-key", good,
         lambda: rsa().public),
    Case("expired key", "key-expired", lambda: clearsign(retired(), PAYLOAD, at=LONG_AGO),
         beside(retired)),
    Case("revoked key", "key-revoked", lambda: clearsign(stolen(), PAYLOAD), beside(stolen)),
    Case("revoked key, signed before that", "key-revoked",
         lambda: clearsign(new_key(made_at=LONG_AGO), PAYLOAD, at=LONG_AGO),
         beside(lambda: signed.revoked(new_key(made_at=LONG_AGO)))),
    Case("expired subkey", "key-expired",
         lambda: clearsign(new_key(subkey="expired", made_at=LONG_AGO), PAYLOAD, at=LONG_AGO),
         beside(lambda: new_key(subkey="expired", made_at=LONG_AGO))),
    Case("revoked subkey", "key-revoked",
         lambda: clearsign(new_key(subkey="good"), PAYLOAD),
         beside(lambda: signed.with_revoked_subkey(new_key(subkey="good")))),
    Case("subkey of a revoked key", "key-revoked",
         lambda: clearsign(new_key(subkey="good"), PAYLOAD),
         beside(lambda: signed.revoked(new_key(subkey="good")))),
    Case("key too short", "key-weak", lambda: clearsign(weak(), PAYLOAD), beside(weak)),
    Case("expired signature", "signature-expired",
         lambda: clearsign(new_key(made_at=LONG_AGO), PAYLOAD, at=LONG_AGO,
                           options=["--default-sig-expire", "1d"]),
         lambda: new_key(made_at=LONG_AGO).public),
    Case("SHA-1", "signature-weak-hash", lambda: clearsign(rsa(), PAYLOAD, digest="SHA1"),
         lambda: rsa().public),
    Case("RIPEMD-160", "signature-weak-hash",
         lambda: clearsign(rsa(), PAYLOAD, digest="RIPEMD160"), lambda: rsa().public),
    Case("SHA-224", "signature-weak-hash", lambda: clearsign(rsa(), PAYLOAD, digest="SHA224"),
         lambda: rsa().public),
    Case("MD5", "signature-weak-hash",
         lambda: clearsign(rsa(), PAYLOAD, digest="MD5", options=["--allow-weak-digest-algos"]),
         lambda: rsa().public),
    Case("signed 25 hours ahead", "signature-in-future",
         lambda: clearsign(publisher(), PAYLOAD, at=NOW + timedelta(hours=25))),
    Case("signed in years to come", "signature-in-future",
         lambda: clearsign(publisher(), PAYLOAD, at=NOW + timedelta(days=1500))),
    Case("key from the future", "key-in-future",
         lambda: clearsign(new_key(made_at=NOW + timedelta(days=90)), PAYLOAD,
                           at=NOW + timedelta(days=91)),
         beside(lambda: new_key(made_at=NOW + timedelta(days=90)))),
    Case("signature older than its key", "signature-unreadable",
         lambda: clearsign(publisher(), PAYLOAD, at=LONG_AGO)),
    Case("good beside a bad one", "signature-bad",
         lambda: with_packets(good(), signature_packets(good())
                              + signature_packets(clearsign(publisher(), b"{}\n")))),
    Case("good beside one by a revoked key", "key-revoked",
         lambda: clearsign([publisher(), stolen()], PAYLOAD), beside(stolen)),
    Case("good beside one by an expired key", "key-expired",
         lambda: with_packets(good(), signature_packets(good()) + signature_packets(
             clearsign(retired(), PAYLOAD, at=LONG_AGO))), beside(retired)),
    Case("good beside a trusted one with SHA-1", "signature-weak-hash",
         lambda: with_packets(good(), signature_packets(good()) + signature_packets(
             clearsign(rsa(), PAYLOAD, digest="SHA1"))), beside(rsa)),
)  # fmt: skip

BAD = NOT_SIGNED + AROUND + INSIDE + ALTERED + KEYS
