# SPDX-License-Identifier: Apache-2.0
"""Who a machine is: by its address, past proxies, and as a neighbour (rule: kept-images)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from tests.rack import images
from tests.rack.conftest import BASE
from webapp import rack as planes
from webapp.extensions import db
from webapp.models import Event
from webapp.rack.files import Files
from webapp.rack.gate import Caller, Gate
from webapp.rack.tftp_names import Content
from webapp.rack.tftp_packets import Refusal
from webapp.services.boot import table
from webapp.services.images import restricting
from webapp.streams.restrictions import Restriction

MAC, OTHER = "52:54:00:12:34:56", "52:54:00:00:00:01"
INSIDE, OUTSIDE, PROXY = "192.0.2.1", "198.51.100.1", "203.0.113.1"
KEPT = Restriction((f"{INSIDE}/32", f"{PROXY}/32"), (MAC,))
NEIGHBOURS = {"10.0.0.5": [MAC], "10.0.0.6": [OTHER], "10.0.0.7": [MAC, OTHER]}
GATE = Gate(lambda address: NEIGHBOURS.get(address, ()))
Refresh = Callable[[], object]


def restrict(kept: Restriction) -> None:
    restricting.restrict("ada", "ubuntu", "noble", "amd64", kept)


@pytest.mark.parametrize(
    ("addresses", "is_permitted"),
    [
        ((INSIDE,), True),
        ((OUTSIDE,), False),
        ((INSIDE, OUTSIDE), False),
        ((INSIDE, PROXY), True),
        (("10.0.0.5",), True),
        (("10.0.0.6",), False),
        (("10.0.0.7",), False),
        (("10.0.0.5", INSIDE), True),
        ((), False),
        (("",), False),
    ],
)
def test_every_address_of_a_request_has_to_be_permitted(
    addresses: tuple[str, ...], is_permitted: bool
) -> None:
    assert (GATE.refusal(KEPT, Caller("x", addresses)) == "") is is_permitted


def test_the_mac_address_that_a_machine_tells_is_enough_where_one_is_asked_for() -> None:
    stranger = Caller(OUTSIDE, (OUTSIDE,))
    assert GATE.refusal(KEPT, stranger, MAC) == ""
    assert GATE.refusal(KEPT, stranger, OTHER)
    assert GATE.refusal(replace(KEPT, macs=()), stranger, MAC)


@pytest.mark.parametrize(
    ("proxies", "peer", "told", "status"),
    [
        (0, INSIDE, None, 200),
        (0, OUTSIDE, INSIDE, 404),
        (1, PROXY, INSIDE, 200),
        (1, PROXY, OUTSIDE, 404),
        (1, PROXY, f"{INSIDE}, {OUTSIDE}", 404),
        (1, PROXY, f"{OUTSIDE}, {INSIDE}", 200),
        (1, PROXY, "unknown", 404),
        (1, PROXY, f"{INSIDE}:4711", 404),
        (1, OUTSIDE, INSIDE, 404),  # it came past the proxy
        (1, INSIDE, None, 200),
        (1, OUTSIDE, None, 404),
        (2, PROXY, f"{INSIDE}, {PROXY}", 200),
        (2, PROXY, f"{OUTSIDE}, {PROXY}", 404),
        (2, PROXY, f"{INSIDE}, {OUTSIDE}", 404),
        (1, "", INSIDE, 200),  # from a socket of our own
        (1, "", "", 404),
    ],
)
def test_strangers_cannot_name_an_address(
    proxies: int,
    peer: str,
    told: str | None,
    status: int,
    rack: Flask,
    machine: FlaskClient,
    refresh: Refresh,
) -> None:
    restrict(KEPT)
    refresh()
    files: Files = rack.extensions["slipway.rack"]
    files._trusted_proxies = proxies
    headers = {} if told is None else {"X-Forwarded-For": told}
    environ = {"REMOTE_ADDR": peer}
    for path in (f"{BASE}/squashfs", f"{BASE}/squashfs.sha256"):
        answer = machine.get(path, headers=headers, environ_base=environ)
        assert answer.status_code == status


def test_a_file_of_an_image_for_everyone_is_for_everyone(
    machine: FlaskClient, refresh: Refresh
) -> None:
    """The kernel's bytes are part of another image, too; the names of this one stay closed."""
    images.image({"boot-kernel": images.FILES["boot-kernel"]}, release="jammy")
    restrict(KEPT)
    refresh()
    jammy = BASE.replace("noble", "jammy")
    assert machine.get(f"{jammy}/boot-kernel").status_code == 200
    assert machine.get(f"{BASE}/boot-kernel").status_code == 404


def test_an_older_version_is_kept_like_the_current_one(rack: Flask, refresh: Refresh) -> None:
    resource = images.image(version="1")
    images.switch(resource, {"squashfs": b"root 2"}, version="2")
    restrict(KEPT)
    refresh()
    client = rack.test_client()
    for version in ("1", "2"):
        path = f"{BASE}/{version}/squashfs"
        assert client.get(path, environ_base={"REMOTE_ADDR": OUTSIDE}).status_code == 404
        assert client.get(path, environ_base={"REMOTE_ADDR": INSIDE}).status_code == 200


def test_an_upload_is_kept_by_the_name_that_machines_ask_for(rack: Flask, refresh: Refresh) -> None:
    images.image({"root-dd": b"win"}, name="win", os="", release="win", subarch="generic")
    restricting.restrict("ada", "custom", "win", "amd64", KEPT)
    refresh()
    path = "/images/custom/amd64/generic/win/stable/root-dd"
    client = rack.test_client()
    assert client.get(path, environ_base={"REMOTE_ADDR": INSIDE}).status_code == 200
    assert client.get(path, environ_base={"REMOTE_ADDR": OUTSIDE}).status_code == 404


# -- what machines boot


@pytest.mark.parametrize(
    "path", ["/ipxe.cfg-{dashes}", "/grub/grub.cfg-{mac}", "/pxelinux.cfg/01-{dashes}"]
)
@pytest.mark.parametrize(
    ("mac", "address", "is_permitted"),
    [(MAC, OUTSIDE, True), (OTHER, OUTSIDE, False), (OTHER, INSIDE, True)],
)
def test_a_machine_that_may_not_have_it_is_told_that_it_is_not_there(
    path: str,
    mac: str,
    address: str,
    is_permitted: bool,
    rack: Flask,
    machine: FlaskClient,
    refresh: Refresh,
) -> None:
    table.set_entry("ada", mac, "ubuntu/noble", arch="amd64")
    restrict(KEPT)
    refresh()
    asked = path.format(mac=mac, dashes=mac.replace(":", "-"))
    answer = machine.get(asked, environ_base={"REMOTE_ADDR": address})
    assert answer.status_code == 200
    assert ("20260105/boot-kernel" in answer.text) is is_permitted
    if is_permitted:
        return
    table.set_entry("ada", mac, "ubuntu/gone", arch="amd64")
    refresh()
    missing = machine.get(asked, environ_base={"REMOTE_ADDR": address})
    assert missing.text.replace("gone", "noble") == answer.text
    rack.extensions["slipway.rack"].recorder.flush()
    event = db.session.scalars(select(Event).where(Event.kind == "image.refused")).one()
    assert (event.actor, event.subject) == (OUTSIDE, BASE.removeprefix("/images/"))
    assert event.detail["why"].endswith(f"{OTHER} isn't permitted.")


def test_a_default_image_is_kept_from_machines_without_a_name(
    machine: FlaskClient, refresh: Refresh
) -> None:
    table.set_entry("ada", "default", "ubuntu/noble", arch="amd64")
    restrict(KEPT)
    refresh()
    for address, is_permitted in ((INSIDE, True), (OUTSIDE, False)):
        answer = machine.get("/ipxe.cfg-default-x86_64", environ_base={"REMOTE_ADDR": address})
        assert ("boot-kernel" in answer.text) is is_permitted


def test_tftp_is_no_way_round(rack: Flask, machine: FlaskClient, refresh: Refresh) -> None:
    table.set_entry("ada", "default", "ubuntu/noble", arch="amd64")
    restrict(KEPT)
    refresh()
    names = planes.tftp_names(rack)
    file, script = f"{BASE[1:]}/boot-kernel", "pxelinux.cfg/default"
    assert isinstance(names.open(file, INSIDE, "http://rack/"), Content)
    assert isinstance(names.open(file, OUTSIDE, "http://rack/"), Refusal)
    assert isinstance(names.open(f"/{BASE}//boot-kernel", OUTSIDE, "http://rack/"), Refusal)
    for address, is_permitted in ((INSIDE, True), (OUTSIDE, False)):
        found = names.open(script, address, "http://rack/")
        assert isinstance(found, Content)
        assert (b"KERNEL" in found.read(0, found.size)) is is_permitted


# -- neighbours

SCRIPT = """
from webapp.rack.neighbours import macs_of
for address in ("198.51.100.7", "::ffff:198.51.100.7", "198.51.100.8", "198.51.100.9",
                "2001:db8::7", "127.0.0.1", "", "x"):
    print(",".join(macs_of(address)))
"""
SETUP = """
ip link add kept0 type veth peer name kept1 && ip link set kept0 up &&
ip addr add 198.51.100.1/24 dev kept0 && ip addr add 2001:db8::1/64 dev kept0 nodad &&
ip neigh add 198.51.100.7 lladdr 52:54:00:12:34:56 dev kept0 nud stale &&
ip neigh add 198.51.100.8 lladdr 52:54:00:00:00:01 dev kept0 nud failed &&
ip neigh add 2001:db8::7 lladdr 52:54:00:12:34:56 dev kept0 nud permanent &&
exec "$@"
"""


def test_the_kernel_knows_the_mac_addresses_of_neighbours() -> None:
    """In a network namespace of its own, with real entries of the kernel."""
    unshare, ip = shutil.which("unshare"), shutil.which("ip")
    if not (unshare and ip):
        pytest.skip("unshare and ip are needed")
    command = [unshare, "-rn", "sh", "-c", SETUP, "sh", sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if "Operation not permitted" in done.stderr or "unknown device type" in done.stderr.lower():
        pytest.skip(f"no namespaces here: {done.stderr}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:-1] == [MAC, MAC, "", "", MAC, "", "", ""]
