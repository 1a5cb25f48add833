# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a document."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from webapp.errors import Problem


class DocumentProblem(Problem):
    """A document does not say what its format asks for."""

    code = "document-invalid"


class Disagreement(DocumentProblem):
    """The index and a document disagree on which products there are.

    listed: those that only the index has. found: those that only the document has.
    """

    code = "stream-mixed"

    def __init__(
        self, what: str, listed: Iterable[str], found: Iterable[str], **details: str
    ) -> None:
        super().__init__(what, **details)
        self.listed = tuple(sorted(listed))
        self.found = tuple(sorted(found))

    @property
    def differences(self) -> list[dict[str, Any]]:
        """Both sides by name, as JSON keeps them with the source."""
        return [
            {"product": name, "is_listed": is_listed}
            for names, is_listed in ((self.listed, True), (self.found, False))
            for name in names
        ]


class StreamsBelow(DocumentProblem):
    """No stream is at an address, but there are some below it: ``found``, their addresses."""

    code = "stream-below"

    def __init__(self, found: tuple[str, ...], what: str, **details: str) -> None:
        super().__init__(what, **details)
        self.found = found
