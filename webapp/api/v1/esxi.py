# SPDX-License-Identifier: Apache-2.0
"""``/esxi/plan``: what an ESXi host would make of a network configuration."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from webapp.api.v1.dispatch import Call, Endpoint
from webapp.api.v1.shapes import Given, Told
from webapp.services.api_tokens import Scope
from webapp.vmware.plan import plan

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


def make_plan(call: Call) -> NetworkPlan:
    """Plan the network of an ESXi host before the host is lost; nothing is kept."""
    given: ConfigGiven = call.body
    nics = {name: mac.lower().replace("-", ":") for name, mac in given.nics.items()}
    made = plan(given.config, nics or None)
    return NetworkPlan(is_promise=made.is_promise, **made.as_dict())


ENDPOINTS = (
    Endpoint(
        "POST", "/esxi/plan", make_plan, Scope.READ, TAG, body=ConfigGiven, answer=NetworkPlan
    ),
)
