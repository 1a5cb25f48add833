# SPDX-License-Identifier: Apache-2.0
"""Log lines, as text for humans or JSON for machines."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import TextIO

import structlog

from webapp.config import Settings
from webapp.escaping import visible


def configure(settings: Settings) -> None:
    """Send structlog and the standard library's logging to stderr in one format."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _make_visible,
    ]
    is_json = settings.log_format == "json"
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if is_json
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            # The other formatters print local variables, and with them secrets.
            exception_formatter=_traceback,
        )
    )
    if is_json:
        shared.append(structlog.processors.format_exc_info)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    handler.set_name("slipway")
    root = logging.getLogger()
    for old in [known for known in root.handlers if known.get_name() == "slipway"]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(settings.log_level.upper())
    # What it notes on every start ("Context impl ...") is for those who write migrations.
    logging.getLogger("alembic").setLevel(max(root.level, logging.WARNING))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _make_visible(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Escape what others wrote: paths, file names, titles, answers of servers."""
    return {key: visible(v) if isinstance(v, str) else v for key, v in event.items()}


def _traceback(file: TextIO, exc_info: structlog.typing.ExcInfo) -> None:
    """A traceback whose message can neither act on a terminal nor pass for a line of ours."""
    text = "".join(traceback.format_exception(*exc_info))
    file.write("\n" + "".join(f"  {visible(line)}\n" for line in text.split("\n") if line))
