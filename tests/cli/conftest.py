# SPDX-License-Identifier: Apache-2.0
"""A `slipway` with a data folder of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.cli.shell import Shell


@pytest.fixture
def slipway(environ: dict[str, str]) -> Iterator[Shell]:
    """``slipway`` on a migrated database of this test's own."""
    plain = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    shell = Shell({**plain, **environ, "COLUMNS": "80"})
    yield shell
    for process in shell.started:
        if process.poll() is None:
            process.kill()
        process.communicate()
