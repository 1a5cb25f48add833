# SPDX-License-Identifier: Apache-2.0
"""``/mirror``: what the region publishes for other sites, and the key that signs it."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from pydantic import Field

from webapp.api.v1.dispatch import Call, PlainCall, Routes
from webapp.api.v1.schemas import Empty, MessageResponse, RequestModel, ResponseModel, StoredProblem
from webapp.services.accounts.rights import Right
from webapp.services.mirror import codesigning, keys, loading, options, signatures, status

routes = Routes("mirror")


class ReaderItem(ResponseModel):
    """Who read the mirror in the last days. revision: the newest state that it read."""

    address: str
    revision: int
    read_at: datetime
    requests: int
    bytes: int


class MirrorResponse(ResponseModel):
    """The local mirror. chosen: names of the images it offers, empty for all of them.

    prefix: of the address. revision: rises with every change of the mirror. is_current:
    everything that machines get is in it. next_fingerprint: of the key that signs from
    next_signs_from on. certificate: fingerprint of the one that signs files for iPXE.
    """

    VOLATILE: ClassVar = {"readers"}

    is_on: bool
    chosen: list[str]
    has_uploads: bool
    prefix: str
    url: str
    revision: int
    serial: int
    is_current: bool
    signed_at: datetime | None
    fingerprint: str
    next_fingerprint: str
    next_signs_from: datetime | None
    images: int
    files: int
    bytes: int
    problem: StoredProblem
    certificate: str
    imgverify_problem: StoredProblem
    readers: list[ReaderItem]


class MirrorRequest(RequestModel):
    """What to change. chosen: names of the images to offer, empty for all of them.

    prefix: of the mirror's address, e.g. ``maas/images/``; the old address ends at once.
    """

    is_on: bool | None = None
    chosen: list[str] | None = Field(None, max_length=1000)
    has_uploads: bool | None = None
    prefix: str | None = Field(None, max_length=300)


class MirrorKeyResponse(ResponseModel):
    """The public keys to trust, armored. fingerprint: of the one that signs now.

    Both are empty until the worker has created the first key.
    """

    fingerprint: str
    public_key: str


class CertificateResponse(ResponseModel):
    """The certificate that iPXE has to trust, in PEM. fingerprint: of the one that signs.

    chain: the one that signs and those above it, in PEM. All are empty until the worker has
    created the first one.
    """

    fingerprint: str
    certificate: str
    chain: str


class RotationRequest(RequestModel):
    """Create the next signing key. is_immediate: it signs at once, not after two weeks."""

    is_immediate: bool = False


@routes("GET", "/mirror", Right.SEE)
def read_mirror(call: PlainCall) -> MirrorResponse:
    """Show the local mirror, and who reads it."""
    return MirrorResponse.model_validate(status.read())


@routes("PATCH", "/mirror", Right.MANAGE, state=read_mirror)
def change_mirror(call: Call[Empty, MirrorRequest]) -> MirrorResponse:
    """Turn the local mirror on or off, or change what it offers."""
    body = call.body
    images = None if body.chosen is None else tuple(body.chosen)
    options.change(
        call.actor,
        is_on=body.is_on,
        images=images,
        has_uploads=body.has_uploads,
        prefix=body.prefix,
    )
    return MirrorResponse.model_validate(status.read())


class HeldResponse(ResponseModel):
    """The SHA-256 of every stored file. format: of this document."""

    format: str
    sha256: list[str]


@routes("GET", "/mirror/held", Right.SEE)
def read_held(call: PlainCall) -> HeldResponse:
    """List what is stored, so that a bundle of another site can leave it out."""
    return HeldResponse.model_validate(loading.held())


@routes("GET", "/mirror/key", Right.SEE)
def read_mirror_key(call: PlainCall) -> MirrorKeyResponse:
    """Show the public keys of the local mirror."""
    fingerprint, public_key = status.public_key()
    return MirrorKeyResponse(fingerprint=fingerprint, public_key=public_key)


@routes("GET", "/mirror/certificate", Right.SEE)
def read_mirror_certificate(call: PlainCall) -> CertificateResponse:
    """Show the certificate with which iPXE verifies files (``imgverify``)."""
    found = signatures.certificate()
    return CertificateResponse(
        fingerprint=found.fingerprint,
        certificate=found.root.decode("ascii"),
        chain=found.chain.decode("ascii"),
    )


@routes("POST", "/mirror/certificate/rotation", Right.MANAGE, status=202)
def rotate_mirror_certificate(call: PlainCall) -> MessageResponse:
    """Create another key and certificate for iPXE, which signs every file again."""
    codesigning.request_key(call.actor)
    return MessageResponse(message="The worker creates the key and signs every file again.")


@routes("POST", "/mirror/key/rotation", Right.MANAGE, status=202)
def rotate_mirror_key(call: Call[Empty, RotationRequest]) -> MessageResponse:
    """Create the next signing key. It's published at once and signs in two weeks, or now."""
    keys.request_rotation(call.actor, now=call.body.is_immediate)
    return MessageResponse(message="The worker creates the key.")
