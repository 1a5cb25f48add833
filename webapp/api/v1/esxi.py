# SPDX-License-Identifier: Apache-2.0
"""``/esxi/plan``: what an ESXi host would make of a network configuration."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from webapp.api.v1.dispatch import Call, Endpoint
from webapp.api.v1.schemas import Given, Told
from webapp.services.accounts.tokens import Scope
from webapp.vmware.fixes import apply_fix
from webapp.vmware.model import Fix
from webapp.vmware.picture import draw
from webapp.vmware.plan import plan
from webapp.vmware.storage import Target, check

TAG = "esxi"


class ConfigGiven(Given):
    """A network configuration, v1 or netplan v2, as YAML or JSON text.

    nics: the host's, from vmnic name to MAC address; left out when the host is not known.
    """

    config: str = Field(max_length=1 << 20)
    nics: dict[str, str] = Field(default_factory=dict, max_length=64)


class NetworkPlan(Told):
    """The plan. commands: in order, none when there are errors. is_promise: there are none."""

    is_promise: bool
    commands: list[str]
    findings: list[dict[str, Any]]
    model: dict[str, Any]
    asked: list[dict[str, str]] = Field(description="Each device: what it asks, what it gets")
    management: str = Field(description="Where the host is reached")
    svg: str = Field(description="The plan as a picture")


def make_plan(call: Call) -> NetworkPlan:
    """Plan the network of an ESXi host before the host is lost; nothing is kept."""
    given: ConfigGiven = call.body
    nics = {name: mac.lower().replace("-", ":") for name, mac in given.nics.items()}
    made = plan(given.config, nics or None)
    return NetworkPlan(is_promise=made.is_promise, svg=draw(made), **made.as_dict())


class FixGiven(ConfigGiven):
    """A step that a finding offers, and the configuration that it mends."""

    op: str = Field(pattern="^(mode|active|drop-bridge)$")
    name: str = Field(max_length=200)
    value: str = Field("", max_length=200)


class ConfigTold(Told):
    """A configuration."""

    config: str


class StorageGiven(Given):
    """A machine's boot disk in bytes, and what is planned on it."""

    version: str = Field(max_length=20)
    disk: int = Field(ge=0, le=1 << 60)
    layout: str = Field("default", max_length=20)
    datastores: int | None = Field(None, ge=0, le=1000)
    has_serial: bool = True
    is_nvme: bool = False
    partitions_changed: list[int] = Field(default_factory=list, max_length=128)


class StorageTold(Told):
    """Whether the version can live on it. Bytes; partitions by number."""

    is_fine: bool
    minimum: int
    reserved: list[int]
    changeable: int
    datastore: int
    remarks: list[dict[str, str]]


def mend_config(call: Call) -> ConfigTold:
    """Take one step that a finding offers; gives the mended configuration, keeps nothing."""
    given: FixGiven = call.body
    return ConfigTold(config=apply_fix(given.config, Fix("", given.op, given.name, given.value)))


def check_storage(call: Call) -> StorageTold:
    """Check a machine's storage against an ESXi version before it is deployed."""
    given = call.body.model_dump()
    given["partitions_changed"] = tuple(given["partitions_changed"])
    return StorageTold(**check(Target(**given)).as_dict())


ENDPOINTS = (
    Endpoint(
        "POST", "/esxi/plan", make_plan, Scope.READ, TAG, body=ConfigGiven, answer=NetworkPlan
    ),
    Endpoint("POST", "/esxi/mend", mend_config, Scope.READ, TAG, body=FixGiven, answer=ConfigTold),
    Endpoint(
        "POST",
        "/esxi/storage",
        check_storage,
        Scope.READ,
        TAG,
        body=StorageGiven,
        answer=StorageTold,
    ),
)
