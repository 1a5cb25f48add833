# SPDX-License-Identifier: Apache-2.0
"""Uploads as pages show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import url_for

from webapp.models import Upload, UploadState
from webapp.severity import Severity
from webapp.web.states import State

_STATES: Mapping[str, State] = {
    UploadState.RECEIVING: State(Severity.WAIT, "Incomplete"),
    UploadState.FETCHING: State(Severity.BUSY, "Downloading"),
    UploadState.CHECKING: State(Severity.BUSY, "Verifying"),
    UploadState.REJECTED: State(Severity.ERROR, "Rejected"),
    UploadState.DONE: State(Severity.OK, "Ready"),
    UploadState.FAILED: State(Severity.ERROR, "Failed"),
}


@dataclass(frozen=True)
class UploadRow:
    """An upload with its state, and what can be done with it."""

    upload: Upload
    state: State

    @property
    def can_correct(self) -> bool:
        """Whether its details can still be corrected."""
        return self.upload.state in (UploadState.REJECTED, UploadState.RECEIVING)

    @property
    def has_verdict(self) -> bool:
        """Whether the report says already what is wrong."""
        return bool(self.upload.report) and self.upload.report["verdict"] == "reject"

    @property
    def progress(self) -> tuple[str, str, int] | None:
        """Id, label and bytes of the progress bar; None when nothing is under way."""
        if self.upload.state == UploadState.CHECKING:
            return "checked", "Verified", self.upload.checked
        if self.upload.state in (UploadState.RECEIVING, UploadState.FETCHING):
            return "received", "Received", self.upload.received
        return None

    @property
    def image_url(self) -> str:
        """The page of the image that the upload became."""
        os, _, release = self.upload.name.rpartition("/")
        arch = self.upload.architecture.partition("/")[0]
        return url_for("images.show", os=os or "custom", release=release, arch=arch)


@dataclass(frozen=True)
class Verdict:
    """What inspecting a file found, in one notice."""

    severity: Severity
    title: str
    contents: str


def upload_row(upload: Upload) -> UploadRow:
    """An upload as pages show it."""
    if upload.state == UploadState.REJECTED and _is_mismatch(upload.report):
        return UploadRow(upload, State(Severity.ERROR, "Type mismatch"))
    return UploadRow(upload, _STATES[upload.state])


def _is_mismatch(report: Mapping[str, Any]) -> bool:
    """Whether another declaration would fit the file."""
    return any(reason.get("fix") for reason in report.get("reasons", ()))


def verdict(report: Mapping[str, Any], state: UploadState | None) -> Verdict:
    """The notice above the findings. state: of the upload, None before it is one.

    Nothing is green before every byte was inspected.
    """
    contents = str(report["words"])
    is_whole = state == UploadState.DONE
    good = "Verified" if is_whole else "OK so far: every byte is verified before it's an image"
    bad = "Type mismatch" if _is_mismatch(report) else "Not usable as an image"
    notices = {
        "ok": (Severity.OK if is_whole else Severity.INFO, good),
        "warn": (Severity.WARN, f"{good}, with warnings" if is_whole else good),
        "reject": (Severity.ERROR, bad),
    }
    found = str(report["verdict"])
    if state == UploadState.REJECTED and found != "reject":  # why is said elsewhere
        found = ""
    severity, title = notices.get(found, (Severity.INFO, contents))
    return Verdict(severity, title, contents[:1].upper() + contents[1:])
