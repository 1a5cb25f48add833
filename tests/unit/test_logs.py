# SPDX-License-Identifier: Apache-2.0
"""Log lines: whatever others wrote, a line stays one line and acts on no terminal."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from webapp import logs
from webapp.config import Settings

HOSTILE = "x\x1b[2J\r\n2026-01-01 [info] forged\x00\u202etxt\u2028\x9b"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    level, handlers = logging.getLogger().level, list(logging.getLogger().handlers)
    config = structlog.get_config()
    yield
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)
    structlog.reset_defaults()
    structlog.configure(**config)


def lines_of(capsys: pytest.CaptureFixture[str], log_format: str) -> list[str]:
    logs.configure(Settings.load({"SLIPWAY_LOG_FORMAT": log_format}))
    log = structlog.get_logger("test")
    log.info(f"got {HOSTILE}", path=HOSTILE, parts=[HOSTILE], more={"a": HOSTILE})
    logging.getLogger("other.library").warning("it got %s", HOSTILE)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        log.exception("it failed")
        logging.getLogger("other.library").exception("it failed as well")
    return capsys.readouterr().err.removesuffix("\n").split("\n")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_character_of_others_acts_on_a_terminal(
    capsys: pytest.CaptureFixture[str], log_format: str
) -> None:
    for line in lines_of(capsys, log_format):
        assert line.isprintable(), line
        assert not line.startswith("2026-01-01"), line


def test_lines_of_json_are_json_and_safe_when_they_are_read(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = [json.loads(line) for line in lines_of(capsys, "json")]
    assert len(found) == 4
    assert "forged" in found[0]["path"]
    assert found[0]["path"].isprintable()
    assert "ValueError" in found[2]["exception"]
