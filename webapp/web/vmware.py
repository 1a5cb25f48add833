# SPDX-License-Identifier: Apache-2.0
"""VMware ESXi: its images, and a host's network and storage before it is cut off."""

from __future__ import annotations

import math
import re
from typing import Any

from flask import Blueprint, request, url_for
from flask.typing import ResponseReturnValue
from markupsafe import Markup

from webapp import hx
from webapp.errors import Problem
from webapp.services.accounts.rights import Right
from webapp.services.images import esxi
from webapp.vmware import storage
from webapp.vmware.fixes import apply_fix
from webapp.vmware.model import Fix
from webapp.vmware.picture import draw
from webapp.vmware.plan import plan
from webapp.web.access import requires
from webapp.web.vmware_rows import plan_outcome

blueprint = Blueprint("vmware", __name__)

_NIC = re.compile(r"(vmnic\d{1,3})\s*=\s*([0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5})")
MAX_GIB = 1 << 20
EXAMPLE = """\
version: 2
ethernets:
  eth0: {}
  eth1: {}
bonds:
  bond0:
    interfaces: [eth0, eth1]
    parameters: {mode: active-backup, primary: eth0}
    addresses: [10.20.0.15/24]
    gateway4: 10.20.0.1
    nameservers: {addresses: [10.20.0.2], search: [lab.example]}
"""


@blueprint.get("/vmware/")
@requires(Right.SEE)
def index() -> ResponseReturnValue:
    """ESXi images, and what to know about them."""
    return hx.render("vmware/index.html", None, images=esxi.listed())


@blueprint.get("/vmware/network")
@requires(Right.SEE)
def network() -> ResponseReturnValue:
    """A page to paste a configuration into."""
    return _network((request.args.get("example") and EXAMPLE) or "", "")


@blueprint.post("/vmware/network")
@requires(Right.SEE)
def plan_network() -> ResponseReturnValue:
    """Plan a configuration; a fix in the form is applied first. Nothing is stored."""
    text, nics = request.form.get("config", ""), request.form.get("nics", "")
    if request.form.get("op"):
        fix = Fix(
            "", request.form["op"], request.form.get("name", ""), request.form.get("value", "")
        )
        try:
            text = apply_fix(text, fix)
        except Problem as problem:
            return _network(text, nics, problem=problem)
    return _network(text, nics, is_asked=True)


@blueprint.get("/vmware/storage")
@requires(Right.SEE)
def check_storage() -> ResponseReturnValue:
    """Check a machine's disk against a version."""
    values = request.args
    found, disk = None, _gib(values.get("disk", ""))
    if "version" in values and disk is not None:
        found = storage.check(
            storage.Target(
                version=values.get("version", "")[:20],
                disk=disk,
                layout=values.get("layout", "default")[:20],
                datastores=0 if values.get("no_datastore") else None,
                has_serial=not values.get("no_serial"),
                is_nvme=bool(values.get("nvme")),
            )
        )
    is_wrong = "version" in values and disk is None
    return hx.render(
        "vmware/storage.html",
        None,
        status=422 if is_wrong else 200,
        is_wrong=is_wrong,
        found=found,
        values=values,
        versions=storage.VERSIONS,
        layouts=storage.LAYOUTS,
    )


def _gib(text: str) -> int | None:
    """Bytes of so many GiB; None for what is no size of a disk."""
    try:
        value = float(text)
    except ValueError:
        return None
    is_size = math.isfinite(value) and 0 < value <= MAX_GIB
    return int(value * storage.GIB) if is_size else None


def _network(
    text: str, nics: str, *, problem: Problem | None = None, is_asked: bool = False
) -> ResponseReturnValue:
    made, picture, unknown = None, "", ""
    if is_asked and problem is None:
        try:
            known, unknown = _nics(nics)
            made = plan(text, known or None)
            picture = Markup(draw(made))  # noqa: S704 - made here, every text in it escaped
        except Problem as found:
            problem = found
    values: dict[str, Any] = {
        "config": text,
        "nics": nics,
        "unknown": unknown,
        "plan": made,
        "outcome": plan_outcome(made) if made else None,
        "picture": picture,
        "problem": problem,
        "example_url": url_for("vmware.network", example=1),
    }
    status = 422 if problem is not None else 200
    return hx.render("vmware/network.html", None, status=status, **values)


def _nics(text: str) -> tuple[dict[str, str], str]:
    """``vmnic0=MAC`` in any number, and what could not be read of it."""
    found = {m[1]: m[2].lower().replace("-", ":") for m in _NIC.finditer(text[:8000])}
    rest = _NIC.sub("", text[:8000]).replace(",", " ").strip()
    return found, rest[:100]
