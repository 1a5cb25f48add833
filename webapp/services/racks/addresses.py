# SPDX-License-Identifier: Apache-2.0
"""URLs of racks and of mirrors that racks read."""

from __future__ import annotations

from webapp.errors import InvalidFields
from webapp.streams.errors import DocumentProblem
from webapp.streams.urls import normalise

MAX_URL = 500


def checked(url: str, field: str) -> str:
    """A URL of http or https as it's stored. Raises InvalidFields for the field."""
    text = url.strip()
    if len(text) > MAX_URL or not text.lower().startswith(("http://", "https://")):
        raise InvalidFields({field: ["Enter an http:// or https:// URL."]})
    try:
        return normalise(text).root
    except DocumentProblem as problem:
        raise InvalidFields({field: [f"{problem.what.removesuffix('.')}."]}) from problem
