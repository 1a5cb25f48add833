# SPDX-License-Identifier: Apache-2.0
"""What a refused document says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from webapp.trust.errors import SignatureProblem


def refusal(call: Callable[[], object]) -> SignatureProblem:
    with pytest.raises(SignatureProblem) as refused:
        call()
    return refused.value
