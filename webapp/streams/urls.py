# SPDX-License-Identifier: Apache-2.0
"""Addresses of boot sources, and the plain paths below them."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, unquote, urlsplit

import idna

from webapp.streams.errors import DocumentProblem

SIGNED_INDEX = "streams/v1/index.sjson"
MAX_URL = 2048
MAX_PATH = 1024
MAX_SEGMENT = 255

_DEFAULT_PORTS = {"http": 80, "https": 443}
_FILE = "file"  # a folder of this server (rule: folder-sources)
_INDEX_NAME = re.compile(r".+(\.sjson|\.json|\.json\.gpg)", re.ASCII)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
# Control characters, line ends and surrogates, and the marks that make text read backwards.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
# Nearly every real path matches this at once; the rest is checked in detail.
_PLAIN = re.compile(r"(?!\.\.?(?:/|\Z))[\w.~+@=,-]+(?:/(?!\.\.?(?:/|\Z))[\w.~+:@=,-]+)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class StreamURL:
    """Where a boot source is: its root, ending in "/", and its index below that.

    is_signed: False for an index named ``.json``, which cannot be trusted
    without explicit consent (rule: unsigned-needs-consent).
    """

    root: str
    index_path: str
    is_signed: bool

    @property
    def url(self) -> str:
        """The one spelling of this source, which ``normalise`` leaves as it is."""
        return self.root if self.index_path == SIGNED_INDEX else self.index_url

    @property
    def index_url(self) -> str:
        """The address of the index itself."""
        return join(self.root, self.index_path)


def normalise(url: str) -> StreamURL:
    """Read a root, a ``streams/v1`` folder or an index as one source (rule: one-source-per-url).

    ``x.json.gpg`` means its clear-signed twin ``x.sjson``, which is published
    beside it and needs one request instead of two.

    Raises DocumentProblem (``url-invalid``) naming the first thing wrong.
    """
    text = url.strip()
    parts = _split(text)
    segments = _segments(parts.path)
    index_path, is_signed = SIGNED_INDEX, True
    if segments[-2:] == ["streams", "v1"]:
        segments = segments[:-2]
    elif segments[-3:-1] == ["streams", "v1"]:
        index_path, is_signed = _index(segments[-1])
        segments = segments[:-3]
    if segments[-2:] == ["streams", "v1"] or (segments and _INDEX_NAME.fullmatch(segments[-1])):
        raise _invalid(
            "The index must be in the mirror's only streams/v1 folder",
            expected="…/streams/v1/index.sjson",
            got=parts.path,
        )
    path = "".join(f"{_quote(segment)}/" for segment in segments)
    return StreamURL(f"{parts.scheme.lower()}://{_netloc(parts)}/{path}", index_path, is_signed)


def join(root: str, path: str) -> str:
    """The address of a plain relative path below a root, percent-encoded.

    Raises DocumentProblem (``document-bad-path``) when the path could lead out
    of the root or to another host.
    """
    check_path(path, where=root)
    return root + "/".join(_quote(segment) for segment in path.split("/"))


def check_path(path: str, *, where: str) -> None:
    """Accept plain relative segments only (rule: plain-paths).

    Raises DocumentProblem (``document-bad-path``).
    """
    if len(path) <= MAX_SEGMENT and _PLAIN.fullmatch(path):
        return
    flaw = _flaw(path)
    if flaw:
        raise DocumentProblem(
            f"A path in the stream {flaw}.",
            code="document-bad-path",
            where=where,
            expected="plain segments below the mirror's root",
            got=ascii(path[:200]),
            next_step="Contact the publisher of the stream.",
        )


def _flaw(path: str) -> str:
    if not path:
        return "is empty"
    if UNPRINTABLE.search(path):
        return "holds a control character"
    if len(path.encode()) > MAX_PATH:
        return f"is longer than {MAX_PATH} bytes"
    if path.startswith("/"):
        return "is absolute"
    if ":" in path.split("/", 1)[0]:
        return "starts with a scheme or a drive"
    for segment in path.split("/"):
        flaw = _segment_flaw(segment)
        if flaw:
            return flaw
    return ""


def _segment_flaw(segment: str) -> str:
    """What is wrong with a segment, however often it may get percent-decoded."""
    if not segment:
        return "has an empty segment"
    if len(segment.encode()) > MAX_SEGMENT:
        return f"has a segment longer than {MAX_SEGMENT} bytes"
    plain, previous = segment, ""
    while plain != previous:  # each round takes off at least two characters
        if plain in (".", ".."):
            return "has a segment that means another folder"
        if "/" in plain or "\\" in plain:
            return "hides a separator"
        if UNPRINTABLE.search(plain):
            return "hides a control character"
        previous, plain = plain, unquote(plain, errors="replace")
    return ""


def _quote(segment: str) -> str:
    return quote(segment, safe="~+:")


def _invalid(
    what: str, *, expected: str = "", got: str = "", next_step: str = ""
) -> DocumentProblem:
    """The problem with an address. ``got`` must never hold user info."""
    return DocumentProblem(
        f"{what}.",
        code="url-invalid",
        where="url",
        expected=expected or "a URL, e.g. https://images.maas.io/ephemeral-v3/stable/",
        got=got,
        next_step=next_step or "Correct the URL of the boot source.",
    )


def _split(text: str) -> SplitResult:
    if not text:
        raise _invalid("The URL is empty")
    if len(text) > MAX_URL:
        raise _invalid(
            "The URL is too long",
            expected=f"at most {MAX_URL} characters",
            got=f"{len(text)} characters",
        )
    if "\\" in text or " " in text or UNPRINTABLE.search(text):
        raise _invalid("The URL contains a space, a backslash or a control character")
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise _invalid("The host or port of the URL isn't valid") from error
    if "@" in parts.netloc:
        raise _invalid(
            "The URL contains a user name or password, which would end up in logs",
            next_step="Remove it from the URL and use the authentication fields of the source.",
        )
    if parts.scheme not in (*_DEFAULT_PORTS, _FILE):
        raise _invalid("The URL isn't a web address", expected="http://, https:// or file:///")
    if parts.scheme == _FILE and parts.netloc.lower() not in ("", "localhost"):
        raise _invalid("The URL of a folder names another machine", expected="file:///srv/mirror/")
    if "?" in text or "#" in text:
        raise _invalid(
            "The URL contains a query or a fragment, which isn't supported",
            next_step='Remove everything from "?" or "#" on.',
        )
    return parts


def _netloc(parts: SplitResult) -> str:
    if parts.scheme == _FILE:
        return ""
    host, port = _host(parts.hostname or ""), parts.port
    if port == 0:
        raise _invalid("The port of the URL is out of range", expected="1 to 65535", got="0")
    is_default = port is None or port == _DEFAULT_PORTS[parts.scheme]
    return host if is_default else f"{host}:{port}"


def _host(host: str) -> str:
    """The host as it is sent: ASCII, lower case, IPv6 in brackets."""
    problem = _invalid("The host of the URL isn't a valid name or address", got=ascii(host))
    try:
        if ":" in host:
            if "%" in host:  # a zone means something on one machine only
                raise problem
            return f"[{ipaddress.IPv6Address(host).compressed}]"
        name = host.rstrip(".") if host.endswith(".") and not host.endswith("..") else host
        if not name.isascii():
            name = idna.encode(name, uts46=True).decode()
        name = name.lower()
        labels = name.split(".")
        # As browsers do: what ends in a number is an IPv4 address or nothing,
        # so that 0x7f.1 or 2130706433 cannot stand for another host.
        if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):
            return ipaddress.IPv4Address(name).compressed
    except (ValueError, UnicodeError) as error:
        raise problem from error
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise problem
    return name


def _segments(path: str) -> list[str]:
    """The decoded segments of a path; trailing slashes make no difference."""
    raw = path.rstrip("/").removeprefix("/")
    try:
        segments = [unquote(part, errors="strict") for part in raw.split("/")] if raw else []
    except UnicodeDecodeError as error:
        raise _invalid("The path of the URL isn't UTF-8", got=ascii(path[:200])) from error
    for segment in segments:
        flaw = _segment_flaw(segment)
        if flaw:
            raise _invalid(f"The path of the URL {flaw}", got=ascii(path[:200]))
    return segments


def _index(name: str) -> tuple[str, bool]:
    if not _INDEX_NAME.fullmatch(name):
        raise _invalid(
            "The URL is for a file that isn't an index",
            expected="a name ending in .sjson, .json or .json.gpg",
            got=ascii(name),
        )
    signed = name.removesuffix(".json.gpg")
    if signed != name:
        return f"streams/v1/{signed}.sjson", True
    return f"streams/v1/{name}", name.endswith(".sjson")
