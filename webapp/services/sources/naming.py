# SPDX-License-Identifier: Apache-2.0
"""What a boot source is called: the name it was given, else its host and stream. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Protocol
from urllib.parse import urlsplit

from webapp.errors import Problem
from webapp.streams.urls import normalise


class Named(Protocol):
    """A boot source."""

    @property
    def name(self) -> str: ...

    @property
    def url(self) -> str: ...


def title(name: str, url: str) -> str:
    """The name, else e.g. ``images.maas.io stable``."""
    if name:
        return name
    host, path = _place(url)
    return f"{host} {path.rpartition('/')[2]}".rstrip() if host else f"/{path}"


def title_of(source: Named) -> str:
    """What this source is called."""
    return title(source.name, source.url)


def titles(sources: Iterable[tuple[int, str, str]]) -> Mapping[int, str]:
    """Titles by id that differ, from id, name and URL of each source.

    Where two have the same title, both are followed by their whole address.
    """
    sources = list(sources)
    plain = {id: title(name, url) for id, name, url in sources}
    counts = Counter(text.lower() for text in plain.values())
    return {
        id: plain[id] if counts[plain[id].lower()] == 1 else f"{plain[id]} ({url})"
        for id, _, url in sources
    }


def _place(url: str) -> tuple[str, str]:
    """Host with port, and the path of the stream's root without slashes around it."""
    try:
        parts = urlsplit(normalise(url).root)
    except Problem:
        return url, ""
    return parts.netloc.rpartition("@")[2], parts.path.strip("/")
