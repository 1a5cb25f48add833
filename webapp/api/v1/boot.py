# SPDX-License-Identifier: Apache-2.0
"""``/boot``: what machines boot from the network."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from webapp.api.v1.dispatch import Call, PlainCall, Routes
from webapp.api.v1.schemas import Empty, Page, RequestModel, ResponseModel, StoredProblem
from webapp.models import BootEntry
from webapp.services.accounts.rights import Right
from webapp.services.boot import loaders, table
from webapp.services.boot.choosing import GENERIC, Outcome
from webapp.services.boot.explaining import explain
from webapp.services.mirror.status import rack_address

routes = Routes("boot")

ONE = "/boot/entries/<string:machine>"


class BootEntryRequest(RequestModel):
    """The image to boot. arch: of a MAC address; a default has that of its name."""

    name: str = Field(max_length=260, description="Image, e.g. `ubuntu/noble`")
    arch: str = Field("amd64", max_length=32)
    kernel: str = Field(GENERIC, max_length=128, description="e.g. `hwe-24.04`")
    parameters: str = Field("", max_length=1000, description="Kernel parameters to add")


class BootEntryResponse(ResponseModel):
    """A row of the boot table. machine: a MAC address, or an architecture for its default.

    version: the one that machines get; empty, with the problem, where there is none.
    """

    machine: str
    name: str
    arch: str
    kernel: str
    parameters: str
    version: str
    problem: StoredProblem
    updated_at: datetime
    updated_by: str


class ConfigurationItem(ResponseModel):
    """What the rack answers to a boot loader at this URL."""

    loader: str
    url: str
    text: str


class ExplanationResponse(ResponseModel):
    """What a machine would get, and why. is_own: it has an entry, so no default is used.

    kernel, initrd and root are URLs that never mean another version.
    """

    machine: str
    arch: str
    is_own: bool
    why: str
    image: str
    version: str
    kernel: str
    initrd: str
    root: str
    parameters: str
    problem: StoredProblem
    configurations: list[ConfigurationItem]


class ExplainQuery(RequestModel):
    """arch: of the machine, if it has no entry."""

    arch: str = Field("amd64", max_length=32)


@routes("GET", "/boot/entries", Right.SEE)
def read_all(call: PlainCall) -> Page[BootEntryResponse]:
    """List what machines boot: the defaults first, then single machines."""
    found = table.outcomes()
    items = [_response(row, found[row.machine]) for row in table.entries()]
    return Page[BootEntryResponse](items=items)


@routes("GET", ONE, Right.SEE)
def read(call: PlainCall, machine: str) -> BootEntryResponse:
    """Read one entry."""
    row = table.get(machine)
    return _response(row, table.outcomes()[row.machine])


@routes("PUT", ONE, Right.MANAGE)
def change(call: Call[Empty, BootEntryRequest], machine: str) -> BootEntryResponse:
    """Set what a machine boots, by its MAC address, or the default of an architecture.

    The image needn't be stored yet.
    """
    sent = call.body
    row = table.set_entry(
        call.actor,
        machine,
        sent.name,
        arch=sent.arch,
        kernel=sent.kernel,
        parameters=sent.parameters,
    )
    return _response(row, table.outcomes()[row.machine])


@routes("DELETE", ONE, Right.MANAGE)
def remove(call: PlainCall, machine: str) -> None:
    """Remove an entry. A machine without one gets the default of its architecture."""
    table.unset(call.actor, machine)


class LoaderItem(ResponseModel):
    """A boot loader in use. version is empty while none could be unpacked.

    names: of its files, at the root of the rack's address. problem: of the current version.
    """

    firmware: str
    arch: str
    version: str
    names: list[str]
    problem: StoredProblem


@routes("GET", "/boot/loaders", Right.SEE)
def read_loaders(call: PlainCall) -> Page[LoaderItem]:
    """List the boot loaders that machines get from the rack."""
    return Page[LoaderItem](items=[LoaderItem.model_validate(one) for one in loaders.listing()])


@routes("GET", "/boot/explain/<string:mac>", Right.SEE)
def explain_machine(call: Call[ExplainQuery, None], mac: str) -> ExplanationResponse:
    """Show what a machine would get now, and why, with the boot loaders' configurations."""
    found = explain(table.explain(mac, call.query.arch), rack_address())
    problem = found.problem
    fields = {**vars(found), "problem": problem.as_dict() if problem else {}}
    return ExplanationResponse.model_validate(fields)


def _response(row: BootEntry, outcome: Outcome) -> BootEntryResponse:
    return BootEntryResponse(
        machine=row.machine,
        name=f"{row.os}/{row.release}",
        arch=row.arch,
        kernel=row.subarch,
        parameters=row.parameters,
        version=outcome.image.version if outcome.image else "",
        problem=StoredProblem.model_validate(outcome.problem.as_dict() if outcome.problem else {}),
        updated_at=row.updated_at,
        updated_by=row.updated_by,
    )
