# SPDX-License-Identifier: Apache-2.0
"""The states of imports and of their files, as pages show them."""

from __future__ import annotations

from collections.abc import Mapping

from webapp.models import HOLD_USER, HOLD_WINDOW, FileTransfer, ImportRun, RunState, TransferState
from webapp.severity import Severity
from webapp.web.states import State

_PHASES: Mapping[str, str] = {
    "refreshing": "Checking boot sources",
    "planning": "Planning",
    "downloading": "Downloading",
    "publishing": "Publishing",
}
_RUNS: Mapping[str, State] = {
    RunState.QUEUED: State(Severity.WAIT, "Queued"),
    RunState.RUNNING: State(Severity.BUSY, "Running"),
    RunState.SUCCEEDED: State(Severity.OK, "Completed"),
    RunState.PARTIAL: State(Severity.WARN, "Completed with errors"),
    RunState.FAILED: State(Severity.ERROR, "Failed"),
    RunState.STOPPED: State(Severity.OFF, "Stopped"),
}
_HOLDS: Mapping[str, State] = {
    HOLD_USER: State(Severity.WAIT, "Paused"),
    HOLD_WINDOW: State(Severity.WAIT, "Paused until a window opens"),
}
_TRANSFERS: Mapping[str, State] = {
    TransferState.WAITING: State(Severity.WAIT, "Waiting"),
    TransferState.DOWNLOADING: State(Severity.BUSY, "Downloading"),
    TransferState.VERIFYING: State(Severity.BUSY, "Verifying"),
    TransferState.DONE: State(Severity.OK, "Done"),
    TransferState.FAILED: State(Severity.ERROR, "Failed"),
    TransferState.STOPPED: State(Severity.OFF, "Stopped"),
}


def of_run(run: ImportRun) -> State:
    """The state of a run; while it runs, what it's doing."""
    found = _RUNS[run.state]
    if run.hold in _HOLDS:
        return _HOLDS[run.hold]
    if run.state == RunState.RUNNING and run.phase in _PHASES:
        return State(found.severity, _PHASES[run.phase])
    return found


def of_transfer(transfer: FileTransfer) -> State:
    """The state of one file of a run."""
    return _TRANSFERS[transfer.state]


def in_short(run: ImportRun) -> State | None:
    """What the top bar shows; None for a run that needs no attention."""
    if run.state == RunState.SUCCEEDED:
        return None
    if run.hold in _HOLDS:
        return State(Severity.WAIT, "Paused")
    if run.state == RunState.RUNNING and run.bytes_total:
        return State(Severity.BUSY, f"{run.bytes_done * 100 // run.bytes_total} %")
    if run.state == RunState.PARTIAL:
        return State(Severity.WARN, "Incomplete")
    return _RUNS[run.state]
