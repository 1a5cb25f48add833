# SPDX-License-Identifier: Apache-2.0
"""Parts of a boot source's answer."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from webapp.api.v1.schemas import ResponseModel
from webapp.models import BootSource
from webapp.services.sources import client_certs


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


class ClientCertItem(ResponseModel):
    """The client certificate of a source, without its key."""

    subject: str
    expires_at: datetime

    @classmethod
    def of(cls, source: BootSource) -> ClientCertItem | None:
        """That of a source, None without one."""
        ends = source.client_cert_ends_at
        if ends is None:
            return None
        return cls(subject=client_certs.subject_of(source.client_cert), expires_at=ends)


class NoticeItem(ResponseModel):
    """What a stream's publisher announces. message: its plain text, unchecked."""

    maas_version: str
    message: str
