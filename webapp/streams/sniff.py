# SPDX-License-Identifier: Apache-2.0
"""Say in words what some bytes look like, so that an error can name what came instead."""

from __future__ import annotations

EMPTY = "nothing at all"
HTML = "an HTML page"
JSON = "JSON without a signature"
PRIVATE_KEY = "a private key"
SIGNED_TEXT = "a clear-signed text"

_UTF8_BOM = b"\xef\xbb\xbf"
_LOOK_AT = 4096

# The first match wins; all are compared in lower case with the white space gone.
_BEGINNINGS = (
    (b"-----begin pgp signed message", SIGNED_TEXT),
    (b"-----begin pgp signature", "a detached signature"),
    (b"-----begin pgp message", "an OpenPGP message (signed or encrypted as a whole)"),
    (b"-----begin pgp public key block", "an OpenPGP public key"),
    (b"-----begin pgp private key block", PRIVATE_KEY),
    (b"-----begin openssh private key", PRIVATE_KEY),
    (b"-----begin certificate", "an X.509 certificate"),
    (b"ssh-", "an SSH key"),
    (b"ecdsa-sha2-", "an SSH key"),
    (b"<!doctype html", HTML),
    (b"<html", HTML),
    (b"<?xml", "an XML document"),
    (b"{", JSON),
    (b"[", JSON),
)
_MAGIC = (
    (b"\x1f\x8b", "gzip data"),
    (b"BZh", "bzip2 data"),
    (b"\xfd7zXZ\x00", "xz data"),
    (b"\x28\xb5\x2f\xfd", "zstd data"),
    (b"PK\x03\x04", "a zip file"),
)


def describe(raw: bytes) -> str:
    """Name what these bytes look like; never repeats any of them."""
    for magic, name in _MAGIC:
        if raw.startswith(magic):
            return name
    if raw[8:12] == b"KBXf":
        return "a GnuPG keybox file"
    head = raw[:_LOOK_AT].removeprefix(_UTF8_BOM).lstrip().lower()
    if not head:
        return EMPTY if not raw.strip() else "a lot of white space"
    for beginning, name in _BEGINNINGS:
        if head.startswith(beginning):
            return name
    if b"private key-----" in head:
        return PRIVATE_KEY
    if b"<html" in head:
        return HTML
    if b"\x00" in head or head[0] >= 0x80:
        return "binary data"
    return "plain text"
