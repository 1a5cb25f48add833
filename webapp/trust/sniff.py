# SPDX-License-Identifier: Apache-2.0
"""Name the kind of some bytes, so that an error can name what came instead."""

from __future__ import annotations

import re

EMPTY = "an empty file"
BLANK = "only white space"
TEXT = "plain text"
BINARY = "binary data"
HTML = "an HTML page"
XML = "an XML document"
JSON = "JSON without a signature"
FINGERPRINT = "a key's fingerprint, not the key"
KEYBOX = "a GnuPG keybox file"
SIGNED_TEXT = "a clear-signed text"
SIGNATURE = "a detached signature"
MESSAGE = "an OpenPGP message (signed or encrypted as a whole)"
PUBLIC_KEY = "an OpenPGP public key"
PRIVATE_KEY = "a private key"
CERTIFICATE = "an X.509 certificate"
SSH_KEY = "an SSH key"
_MAGIC = (
    (b"\x1f\x8b", "gzip data"),
    (b"BZh", "bzip2 data"),
    (b"\xfd7zXZ\x00", "xz data"),
    (b"\x28\xb5\x2f\xfd", "zstd data"),
    (b"PK\x03\x04", "a zip file"),
)

OPENPGP = frozenset((SIGNED_TEXT, SIGNATURE, MESSAGE, PUBLIC_KEY, PRIVATE_KEY))
# What no publisher would call a document: something else answered.
FOREIGN = frozenset((EMPTY, BLANK, BINARY, HTML, XML, CERTIFICATE, *(name for _, name in _MAGIC)))

_UTF8_BOM = b"\xef\xbb\xbf"
_HEAD_BYTES = 4096
_FINGERPRINT = re.compile(rb"(?:0x)?(?:[0-9a-f]\s*){16,64}")

# The first match wins; all are compared in lower case with the white space gone.
_BEGINNINGS = (
    (b"-----begin pgp signed message", SIGNED_TEXT),
    (b"-----begin pgp signature", SIGNATURE),
    (b"-----begin pgp message", MESSAGE),
    (b"-----begin pgp public key block", PUBLIC_KEY),
    (b"-----begin pgp private key block", PRIVATE_KEY),
    (b"-----begin openssh private key", PRIVATE_KEY),
    (b"-----begin certificate", CERTIFICATE),
    (b"ssh-", SSH_KEY),
    (b"ecdsa-sha2-", SSH_KEY),
    (b"<!doctype html", HTML),
    (b"<html", HTML),
    (b"<?xml", XML),
    (b"{", JSON),
    (b"[", JSON),
)


def describe(raw: bytes) -> str:
    """Name what these bytes seem to be; never repeats any of them."""
    for magic, name in _MAGIC:
        if raw.startswith(magic):
            return name
    if raw[8:12] == b"KBXf":
        return KEYBOX
    head = raw[:_HEAD_BYTES].removeprefix(_UTF8_BOM).lstrip().lower()
    if not head:
        return EMPTY if not raw.strip() else BLANK
    for beginning, name in _BEGINNINGS:
        if head.startswith(beginning):
            return name
    if b"private key-----" in head:
        return PRIVATE_KEY
    if b"<html" in head:
        return HTML
    if _FINGERPRINT.fullmatch(head):
        return FINGERPRINT
    if b"\x00" in head or head[0] >= 0x80:
        return BINARY
    return TEXT
