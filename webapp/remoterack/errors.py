# SPDX-License-Identifier: Apache-2.0
"""What can go wrong between a rack and its region."""

from __future__ import annotations

from webapp.errors import Problem


class RackProblem(Problem):
    """A rack can't start, follow or fetch.

    Codes: rack-settings, rack-folder, rack-key, rack-rollback, rack-future, rack-changed,
    rack-mixed, rack-token, rack-region.
    """

    code = "rack"
