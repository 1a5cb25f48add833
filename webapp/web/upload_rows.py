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
    UploadState.REJECTED: State(Severity.ERROR, "Type mismatch"),
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
    return UploadRow(upload, _STATES[upload.state])


def verdict(report: Mapping[str, Any], *, is_sent: bool) -> Verdict:
    """The notice above the findings. is_sent: the bytes are already here."""
    good = "Verified" if is_sent else "OK to upload"
    contents = str(report["words"])
    notices = {
        "ok": (Severity.OK, good),
        "warn": (Severity.WARN, f"{good}, with warnings"),
        "reject": (Severity.ERROR, "Type mismatch"),
    }
    severity, title = notices.get(str(report["verdict"]), (Severity.INFO, contents))
    return Verdict(severity, title, contents[:1].upper() + contents[1:])
