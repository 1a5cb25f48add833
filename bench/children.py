# SPDX-License-Identifier: Apache-2.0
"""Measured processes: each is a child of its own, with a fresh region and the worker's code."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flask import Flask

ROOT = Path(__file__).resolve().parent.parent


def measured(module: str, task: Mapping[str, str], root: Path = ROOT) -> dict[str, Any]:
    """What the child of a benchmark found; with the code below ``root``."""
    done = subprocess.run(
        [sys.executable, "-m", module, "--child", json.dumps(task)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return dict(json.loads(done.stdout.splitlines()[-1]))


@contextmanager
def region(data: str) -> Iterator[Flask]:
    """An app on a fresh data folder, with its database migrated."""
    os.environ.update(SLIPWAY_DATA_DIR=data, SLIPWAY_DEFAULTS="off", SLIPWAY_LOG_LEVEL="error")
    from webapp import create_app, database
    from webapp.extensions import db

    app = create_app(plane="none")
    with app.app_context():
        database.upgrade(db.engine)
        yield app


def add_source(url: str, keyring: str, picks: Iterable[tuple[str, str]] = ()) -> int:
    """Add a boot source and select these releases of it; its id."""
    from webapp.extensions import db
    from webapp.models import BootSourceSelection
    from webapp.services.sources import drafts, sources

    source_id = sources.add(drafts.SourceDraft(url=url, keyring_filename=keyring), "bench").id
    db.session.add_all(
        BootSourceSelection(source_id=source_id, os=os_name, release=release)
        for os_name, release in picks
    )
    db.session.commit()
    return source_id


def timed_run() -> float:
    """Queue, claim and execute one run; its wall time in seconds."""
    from webapp.services.imports import importing, runs

    runs.queue("manual", "bench")
    began = time.monotonic()
    run = runs.claim("bench")
    state = importing.execute(run.id, "bench", lambda: False) if run else "not queued"
    took = time.monotonic() - began
    if state != "succeeded":
        ended = runs.last_ended()
        raise SystemExit(f"the import ended as {state}: {ended.summary if ended else ''}")
    return took


def peak_mib() -> float:
    """The most memory that this process ever had resident."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
