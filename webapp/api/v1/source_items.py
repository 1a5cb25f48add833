# SPDX-License-Identifier: Apache-2.0
"""Parts of a boot source's answer."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from webapp.api.v1.schemas import ResponseModel


class LeftOutItem(ResponseModel):
    """A part of a stream that isn't used. version: empty when it's the whole product."""

    product: str
    version: str
    reason: str


class DifferenceItem(ResponseModel):
    """A product that only the index lists, or that only a document has."""

    product: str
    is_listed: bool = Field(description="Only the index has it")


class MirrorSpeedItem(ResponseModel):
    """How fast an address of a source was. problem: why it didn't answer."""

    url: str
    bytes_per_s: int
    problem: str
    measured_at: datetime


class NoticeItem(ResponseModel):
    """What a stream's publisher announces. message: its plain text, unchecked."""

    maas_version: str
    message: str
