# SPDX-License-Identifier: Apache-2.0
"""``/esxi``: plan an ESXi host's network and check its boot disk before deploying."""

from __future__ import annotations

from pydantic import Field

from webapp.api.v1.dispatch import Call, Routes
from webapp.api.v1.schemas import Empty, RequestModel, ResponseModel
from webapp.services.accounts.rights import Right
from webapp.severity import Severity
from webapp.vmware.fixes import apply_fix
from webapp.vmware.model import Fix
from webapp.vmware.picture import draw
from webapp.vmware.plan import plan
from webapp.vmware.storage import Target, check

routes = Routes("esxi")


class ConfigRequest(RequestModel):
    """A network configuration, v1 or netplan v2, as YAML or JSON text.

    nics: the host's, vmnic name to MAC address; leave out if you don't know the host.
    """

    config: str = Field(max_length=1 << 20)
    nics: dict[str, str] = Field(default_factory=dict, max_length=64)


class PlaceItem(ResponseModel):
    """A place in the configuration. path: the keys that lead there."""

    line: int
    column: int
    path: str


class FixItem(ResponseModel):
    """A fix that Slipway can apply; label names it for people."""

    label: str
    op: str
    name: str
    value: str


class FindingItem(ResponseModel):
    """Something to know before deploying. happens: what the host does. fix: what you can do."""

    severity: Severity
    code: str
    message: str
    place: PlaceItem
    happens: str
    fix: str
    fixes: list[FixItem]


class SwitchItem(ResponseModel):
    """A standard vSwitch."""

    name: str
    uplinks: list[str]
    mtu: int | None
    teaming: str


class InterfaceItem(ResponseModel):
    """A VMkernel interface. addresses: or how it gets them. routes: network and gateway."""

    name: str
    portgroup: str
    vswitch: str
    vlan: int | None
    mtu: int | None
    mac: str
    addresses: list[str]
    routes: list[tuple[str, str]]


class HostItem(ResponseModel):
    """The network of the planned host."""

    vswitches: list[SwitchItem]
    vmks: list[InterfaceItem]
    dns: list[str]
    search: list[str]


class DeviceItem(ResponseModel):
    """A device: what the configuration asks for, and what the host gets."""

    name: str
    asked: str
    gets: str


class NetworkPlanResponse(ResponseModel):
    """A plan. commands: in order; none when there are errors. is_promise: no errors."""

    is_promise: bool
    commands: list[str]
    findings: list[FindingItem]
    model: HostItem
    asked: list[DeviceItem] = Field(description="Each device: configured and planned")
    management: str = Field(description="Where the host is reached")
    svg: str = Field(description="The plan as a picture")


@routes("POST", "/esxi/plan", Right.SEE)
def make_plan(call: Call[Empty, ConfigRequest]) -> NetworkPlanResponse:
    """Plan the network of an ESXi host; nothing is saved."""
    sent = call.body
    nics = {name: mac.lower().replace("-", ":") for name, mac in sent.nics.items()}
    made = plan(sent.config, nics or None)
    return NetworkPlanResponse(is_promise=made.is_promise, svg=draw(made), **made.as_dict())


class FixRequest(ConfigRequest):
    """A fix that a finding offers, and the configuration to apply it to."""

    op: str = Field(pattern="^(mode|active|drop-bridge)$")
    name: str = Field(max_length=200)
    value: str = Field("", max_length=200)


class ConfigResponse(ResponseModel):
    """A configuration."""

    config: str


class StorageRequest(RequestModel):
    """A machine's boot disk in bytes, and what is planned on it."""

    version: str = Field(max_length=20)
    disk: int = Field(ge=0, le=1 << 60)
    layout: str = Field("default", max_length=20)
    datastores: int | None = Field(None, ge=0, le=1000)
    has_serial: bool = True
    is_nvme: bool = False
    partitions_changed: list[int] = Field(default_factory=list, max_length=128)


class RemarkItem(ResponseModel):
    """A finding about a disk."""

    severity: Severity
    code: str
    message: str
    fix: str


class StorageResponse(ResponseModel):
    """Whether the ESXi version fits the disk. Sizes in bytes; partitions by number."""

    is_fine: bool
    minimum: int
    reserved: list[int]
    changeable: int
    datastore: int
    remarks: list[RemarkItem]


@routes("POST", "/esxi/fix", Right.SEE)
def fix_config(call: Call[Empty, FixRequest]) -> ConfigResponse:
    """Apply a fix that a finding offers; returns the configuration and saves nothing."""
    sent = call.body
    return ConfigResponse(config=apply_fix(sent.config, Fix("", sent.op, sent.name, sent.value)))


@routes("POST", "/esxi/storage", Right.SEE)
def check_storage(call: Call[Empty, StorageRequest]) -> StorageResponse:
    """Check a machine's boot disk against an ESXi version before deploying it."""
    values = call.body.model_dump()
    values["partitions_changed"] = tuple(values["partitions_changed"])
    return StorageResponse(**check(Target(**values)).as_dict())
