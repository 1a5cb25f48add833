# SPDX-License-Identifier: Apache-2.0
"""What is declared about an upload, field by field, before and after validation."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from webapp.errors import InvalidFields
from webapp.extensions import db, settings
from webapp.models import BootResource, BootSourceCache
from webapp.services.uploads import names

_SHA256 = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,19}", re.ASCII)


@dataclass(frozen=True)
class Declared:
    """What is declared about a file before it arrives; texts as they were typed.

    is_checked_first: inspect it before it is published (the 2.0 protocol wants
    its answer at once, so such an upload is inspected afterwards). address: the URL to
    fetch, whose query may hold a token; place is what is shown of it.
    """

    name: str
    architecture: str
    size: str | int
    sha256: str = ""
    filetype: str = ""
    title: str = ""
    base_image: str = ""
    origin: str = "api"
    place: str = ""
    address: str = ""
    is_checked_first: bool = True


def checked(declared: Declared) -> dict[str, Any]:
    """Every field in the form it is stored in. Raises InvalidFields with all that is wrong."""
    wrong: dict[str, list[str]] = {}

    def read(value: Callable[[], Any]) -> Any:
        try:
            return value()
        except InvalidFields as problem:
            wrong.update(problem.fields)
            return None

    offered, architectures = _offered(), _architectures()
    values = {
        "name": read(lambda: names.read_name(declared.name, offered)),
        "architecture": read(lambda: names.read_architecture(declared.architecture, architectures)),
        "ftype": read(lambda: names.read_filetype(declared.filetype)),
        "title": read(lambda: names.read_title(declared.title)),
        "base_image": read(lambda: names.read_base_image(declared.base_image)),
        "size": read(lambda: _size(declared.size)),
        "sha256": read(lambda: read_sha256(declared.sha256)),
    }
    if wrong:
        raise InvalidFields(wrong)
    return values


def _offered() -> set[tuple[str, str]]:
    query = select(BootSourceCache.os, BootSourceCache.release).distinct()
    return {(row.os, row.release) for row in db.session.execute(query)}


def _architectures() -> set[str]:
    query = select(BootResource.arch, BootResource.architecture).distinct()
    return {row.architecture for row in db.session.execute(query)}


def _size(value: str | int) -> int:
    text = str(value).strip()
    limit = settings().upload_max_gb << 30
    if not text:
        raise InvalidFields({"size": ["This field is required."]})
    if not _NUMBER.fullmatch(text):
        raise InvalidFields({"size": ["Enter a whole number."]})
    if int(text) > limit:
        raise InvalidFields(
            {"size": [f"The maximum is {limit} bytes (SLIPWAY_UPLOAD_MAX_GB), not {text}."]}
        )
    return int(text)


def read_sha256(text: str) -> str:
    """64 hex digits in lower case, "" when not given. Raises InvalidFields."""
    text = text.strip()
    if text and not _SHA256.fullmatch(text):
        raise InvalidFields(
            {"sha256": [f"Ensure this value has exactly 64 hex digits (it has {len(text)})."]}
        )
    return text.lower()
