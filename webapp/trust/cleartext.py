# SPDX-License-Identifier: Apache-2.0
"""The frame of a clear-signed document (RFC 4880 chapter 7), checked before gpg reads it.

gpg is generous about what stands around and inside the frame, and cuts lines at
19,995 characters. Whatever two readers could take differently is refused here;
what remains has one text and one signature block with nothing but signatures
in it, for gpg and for everybody else.
"""

from __future__ import annotations

import re
from typing import NoReturn

from webapp.trust import packets, sniff
from webapp.trust.errors import SignatureProblem

MAX_LINE = 19_000  # bytes; gpg 2.2 cuts at 19,995
MAX_SIGNATURE_BYTES = 1 << 16
MAX_SIGNATURES = 16
_LF = b"\n"
_BEGIN = b"-----BEGIN PGP SIGNED MESSAGE-----"

_HEAD = re.compile(
    re.escape(_BEGIN) + rb"\r?\n(?:Hash: [A-Za-z0-9-]+(?:, ?[A-Za-z0-9-]+){0,7}\r?\n){0,4}\r?\n"
)
# Anchored, so that the search stays linear however long the lines are.
_LONG_LINE = re.compile(rb"^[^\n]{%d}" % (MAX_LINE + 1), re.MULTILINE)
# A line of the text that begins with a dash is written with "- " before it.
_DASHES = re.compile(rb"^-(?! )", re.MULTILINE)
_BEGIN_SIGNATURE = re.compile(rb"-----BEGIN PGP SIGNATURE-----\r?\n")
_END_SIGNATURE = b"-----END PGP SIGNATURE-----"
_ASK = "Ask the publisher for a plain clear-signed document (gpg --clearsign)."
_UNSIGNED = (
    "Use the signed document (.sjson). If the mirror has none, mark its source as "
    "unsigned, which means that no one vouches for its images."
)
_CHECK = "Check the URL, and whether a proxy or a sign-in page responds instead of the mirror."
_OTHER = {
    "signature-missing": ("The document isn't signed.", _UNSIGNED),
    "signature-wrong-kind": ("This isn't a clear-signed document.", _ASK),
    "signature-not-a-document": ("This isn't a document.", _CHECK),
}


def check_frame(raw: bytes, *, where: str) -> None:
    """Raise SignatureProblem unless raw is one plain clear-signed document and no more."""
    if not raw.startswith(_BEGIN):
        _refuse_other(raw, where)
    if long_line := _LONG_LINE.search(raw):
        raise SignatureProblem(
            "A line of the signed document is too long to check: gpg truncates it.",
            code="signature-long-line",
            where=where,
            expected=f"lines of at most {MAX_LINE} bytes",
            got=f"more in line {raw.count(_LF, 0, long_line.start()) + 1}",
            next_step="Ask the publisher to write the document with line breaks (indented JSON).",
        )
    if b"\0" in raw:
        _malformed(where, "a NUL byte")
    head = _HEAD.match(raw)
    if head is None:
        _malformed(where, "header lines other than Hash, or no empty line after them")
    begin = _next_dashes(raw, head.end(), where)
    inside = _BEGIN_SIGNATURE.match(raw, begin)
    if inside is None:
        if raw.startswith(b"-----BEGIN PGP", begin):
            _several(where)
        _malformed(where, "a line that begins with an unescaped dash")
    end = _next_dashes(raw, inside.end(), where)
    if not raw.startswith(_END_SIGNATURE, end):
        _malformed(where, "something else inside the signature block")
    rest = raw[end + len(_END_SIGNATURE) :].strip(b" \t\r\n")
    if b"-----BEGIN PGP" in rest:
        _several(where)
    if rest:
        _unsigned_text("after", f"{len(rest)} unsigned bytes", where)
    _check_armored(raw[inside.end() : end], where)


def check_detached(signature: bytes, *, where: str) -> None:
    """Raise SignatureProblem unless these bytes are one detached signature, armored or binary."""
    if len(signature) > MAX_SIGNATURE_BYTES:
        _malformed(where, f"a signature of more than {MAX_SIGNATURE_BYTES} bytes")
    if begin := _BEGIN_SIGNATURE.match(signature):
        end = _next_dashes(signature, begin.end(), where)
        if signature[end:].strip(b" \t\r\n") != _END_SIGNATURE:
            _malformed(where, "something else inside or after the signature block")
        _check_armored(signature[begin.end() : end], where)
    elif signature[:1] >= b"\x80":
        _check_packets(signature, where)
    else:
        kind = sniff.describe(signature)
        raise SignatureProblem(
            "This isn't a detached signature.",
            code=_code_of(kind) if kind in sniff.FOREIGN else "signature-wrong-kind",
            where=where,
            expected="a detached signature (gpg --detach-sign), armored or binary",
            got=kind,
            next_step="Choose the .gpg, .sig or .asc file of this document.",
        )


def _check_armored(inside: bytes, where: str) -> None:
    if len(inside) > MAX_SIGNATURE_BYTES:
        _malformed(where, f"a signature of more than {MAX_SIGNATURE_BYTES} bytes")
    try:
        decoded = packets.dearmor(inside)
    except ValueError as error:
        _malformed(where, f"an unreadable signature block: {error}")
    _check_packets(decoded, where)


def _check_packets(binary: bytes, where: str) -> None:
    try:
        tags = packets.tags(binary)
    except ValueError as error:
        _malformed(where, f"an unreadable signature: {error}")
    if set(tags) != {packets.SIGNATURE}:
        _malformed(where, "something other than signatures in the signature block")
    if len(tags) > MAX_SIGNATURES:
        _malformed(where, f"more than {MAX_SIGNATURES} signatures")


def _next_dashes(raw: bytes, start: int, where: str) -> int:
    """Where the next line that begins with an unescaped dash starts."""
    found = _DASHES.search(raw, start)
    if found is None:
        raise SignatureProblem(
            "The signed document is truncated.",
            code="signature-cut-off",
            where=where,
            expected="the line " + _END_SIGNATURE.decode(),
            got="the end of the document",
            next_step="Try again. If it persists, contact the publisher of the mirror.",
        )
    return found.start()


def _refuse_other(raw: bytes, where: str) -> NoReturn:
    kind = sniff.describe(raw)
    if _BEGIN in raw:
        _unsigned_text("before", "unsigned content", where)
    code = _code_of(kind)
    what, next_step = _OTHER[code]
    raise SignatureProblem(
        what,
        code=code,
        where=where,
        expected="a clear-signed document, as in .sjson files",
        got=kind,
        next_step=next_step,
    )


def _code_of(kind: str) -> str:
    if kind in sniff.FOREIGN:
        return "signature-not-a-document"
    return "signature-wrong-kind" if kind in sniff.OPENPGP else "signature-missing"


def _unsigned_text(side: str, got: str, where: str) -> NoReturn:
    raise SignatureProblem(
        f"There is unsigned content {side} the signed document.",
        code=f"signature-text-{side}",
        where=where,
        expected=f"nothing {side} it",
        got=got,
        next_step=_ASK,
    )


def _several(where: str) -> NoReturn:
    raise SignatureProblem(
        "The document has more than one signed block.",
        code="signature-several",
        where=where,
        expected="exactly one",
        got="another one inside or after the first",
        next_step=_ASK,
    )


def _malformed(where: str, got: str) -> NoReturn:
    raise SignatureProblem(
        "The signed document is malformed.",
        code="signature-malformed",
        where=where,
        expected="one clear-signed text with nothing but signatures in its signature block",
        got=got,
        next_step=_ASK,
    )
