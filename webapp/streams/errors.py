# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a document."""

from __future__ import annotations

from webapp.errors import Problem


class DocumentProblem(Problem):
    """A document does not say what its format asks for."""

    code = "document-invalid"
