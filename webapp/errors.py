# SPDX-License-Identifier: Apache-2.0
"""The one shape of every error that a person or a script gets to read."""

from __future__ import annotations


class Problem(Exception):
    """Something went wrong that has a cause and a next step.

    Every layer raises subclasses of this; pages, the API, the command line and
    the failure rows of an import all print the same fields.

    code: stable machine word, e.g. ``signature-unknown-key``.
    what: one sentence for a person, without the file's or host's secrets.
    where: the URL, file, field or product it is about ("" when there is none).
    expected, got: the two sides of a failed check ("" when it was no check).
    next_step: what to do about it, as one sentence ("" when nothing helps).
    """

    code = "problem"

    def __init__(
        self,
        what: str,
        *,
        code: str | None = None,
        where: str = "",
        expected: str = "",
        got: str = "",
        next_step: str = "",
    ) -> None:
        super().__init__(what)
        self.code = code or type(self).code
        self.what = what
        self.where = where
        self.expected = expected
        self.got = got
        self.next_step = next_step

    def as_dict(self) -> dict[str, str]:
        """All fields, for a JSON answer or a failure row."""
        return {
            "code": self.code,
            "what": self.what,
            "where": self.where,
            "expected": self.expected,
            "got": self.got,
            "next_step": self.next_step,
        }

    def __str__(self) -> str:
        """The whole problem on one line, for logs and the command line."""
        parts = [self.what]
        if self.where:
            parts.append(f"Where: {self.where}.")
        if self.expected or self.got:
            parts.append(f"Expected {self.expected or 'nothing'}, got {self.got or 'nothing'}.")
        if self.next_step:
            parts.append(f"Next: {self.next_step}")
        return " ".join(parts)


class InvalidFields(Problem):
    """Input that a form or an API call must correct, field by field.

    fields: field name -> messages; ``__all__`` holds what is about several
    fields at once (rule: rest-answers).
    """

    code = "invalid-fields"

    def __init__(self, fields: dict[str, list[str]]) -> None:
        names = ", ".join(sorted(fields))
        super().__init__(
            "Some values cannot be used: " + " ".join(m for ms in fields.values() for m in ms),
            where=names,
        )
        self.fields = fields


class NotFound(Problem):
    """There is no such thing (any more)."""

    code = "not-found"


class Conflict(Problem):
    """It cannot be done in the present state."""

    code = "conflict"
