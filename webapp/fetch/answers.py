# SPDX-License-Identifier: Apache-2.0
"""An answer whose body is still to be read, wherever it comes from."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Self

GZIP = {"gzip", "x-gzip"}


class Answer(ABC):
    """A context manager that closes the answer.

    length: of the body as declared, None when it is not. where: the URL it came
    from as users may see it. is_gzipped: the server states that the body is
    compressed, though it was asked not to. That's how some serve ``x.gz`` itself.
    """

    def __init__(self, where: str, status: int, headers: Mapping[str, str]) -> None:
        self.where = where
        self.status = status
        self.headers = headers
        self.is_gzipped = coding(headers) in GZIP
        declared = headers.get("Content-Length", "")
        is_known = "Transfer-Encoding" not in headers and declared.isascii()
        self.length = int(declared) if is_known and re.fullmatch(r"\d{1,18}", declared) else None

    @property
    def media_type(self) -> str:
        """The content type without its parameters; "" when there is no sane one."""
        text = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        return text if re.fullmatch(r"[\w.+-]{1,40}/[\w.+-]{1,40}", text, re.ASCII) else ""

    @abstractmethod
    def readinto(self, view: memoryview) -> int:
        """Fill the view; fewer bytes mean that the body ended, be it whole or cut."""

    @abstractmethod
    def finish(self) -> None:
        """Note that the whole body was read, so that a connection can be used again."""

    @abstractmethod
    def close(self) -> None:
        """Let go of it; harmless when closed already."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def coding(headers: Mapping[str, str]) -> str:
    """How the body is encoded, ``identity`` if nothing is said."""
    return headers.get("Content-Encoding", "identity").strip().lower()
