# SPDX-License-Identifier: Apache-2.0
"""What boot loaders get from the rack port (rule: boot-config-paths)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from sqlalchemy import update

from tests.rack import images
from tests.rack.conftest import BASE
from webapp.extensions import db
from webapp.models import Blob
from webapp.services.boot import table

MAC, DASHES = "52:54:00:12:34:56", "52-54-00-12-34-56"


@pytest.fixture
def lab(machine: FlaskClient, refresh: Callable[[], object]) -> FlaskClient:
    """A default image, and another kernel for one machine."""
    images.image(subarch="hwe-24.04", answers_to=["hwe-24.04"])
    table.set_entry("ada", "default", "ubuntu/noble", arch="amd64", parameters="console=ttyS0")
    table.set_entry("ada", MAC, "ubuntu/noble", arch="amd64", kernel="hwe-24.04")
    refresh()
    return machine


@pytest.mark.parametrize(
    ("path", "kernel"),
    [
        (f"/ipxe.cfg-{DASHES}", "hwe-24.04"),
        ("/ipxe.cfg-default-x86_64", "ga-24.04"),
        (f"/grub/grub.cfg-{MAC}", "hwe-24.04"),
        ("/grub//grub.cfg-default-x86_64", "ga-24.04"),
        (f"/pxelinux.cfg/01-{DASHES}", "hwe-24.04"),
        ("/pxelinux.cfg/default", "ga-24.04"),
    ],
)
def test_each_loader_gets_its_configuration_and_the_files_that_it_names(
    lab: FlaskClient, path: str, kernel: str
) -> None:
    answer = lab.get(path, headers={"Host": "10.0.2.2:5248"})
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    file = f"/images/ubuntu/amd64/{kernel}/noble/stable/20260105/boot-kernel"
    assert file in answer.text
    assert lab.get(file).data == images.FILES["boot-kernel"]
    assert f"root=squash:http://10.0.2.2:5248/images/ubuntu/amd64/{kernel}/" in answer.text
    head = lab.head(path, headers={"Host": "10.0.2.2:5248"})
    assert (head.content_length, head.data) == (len(answer.data), b"")


def test_the_first_script_asks_for_the_machine_and_then_for_the_default(lab: FlaskClient) -> None:
    ipxe = lab.get("/ipxe.cfg", headers={"Host": "rack:1"}).text
    assert "http://rack:1/ipxe.cfg-${netX/mac:hexhyp} ||" in ipxe
    assert "http://rack:1/ipxe.cfg-default-${buildarch}-${netX/mac:hexhyp}\n" in ipxe
    assert "configfile /grub/grub.cfg-${net_default_mac}\n" in lab.get("/grub/grub.cfg").text


def test_pxelinux_without_any_image_boots_from_the_next_device(
    lab: FlaskClient, refresh: Callable[[], object]
) -> None:
    table.unset("ada", "default")
    refresh()
    answer = lab.get("/pxelinux.cfg/default")
    assert answer.status_code == 200
    assert "SAY Slipway: There is no default image for amd64." in answer.text
    assert answer.text.endswith("LOCALBOOT 0\n")


def test_a_machine_whose_first_request_failed_does_not_get_the_default(lab: FlaskClient) -> None:
    own = lab.get(f"/ipxe.cfg-{DASHES}").text
    assert lab.get(f"/ipxe.cfg-default-x86_64-{DASHES}").text == own
    other = lab.get("/ipxe.cfg-default-x86_64-52-54-00-00-00-01")
    assert other.text == lab.get("/ipxe.cfg-default-x86_64").text
    grub = lab.get("/grub/grub.cfg-default-x86_64-52:54:00:00:00:01").text
    assert "'BOOTIF=01-52-54-00-00-00-01'" in grub


def test_a_machine_without_an_entry_and_an_architecture_without_a_default_get_404(
    lab: FlaskClient,
) -> None:
    other = lab.get("/ipxe.cfg-52-54-00-00-00-01")
    assert (other.status_code, other.text) == (404, "52:54:00:00:00:01 has no entry.\n")
    arm = lab.get("/grub/grub.cfg-default-arm64")
    assert (arm.status_code, arm.text) == (404, "There is no default image for arm64.\n")
    assert lab.get("/grub/x86_64-efi/command.lst").status_code == 404
    assert lab.post(f"/ipxe.cfg-{DASHES}").status_code == 405


def test_a_machine_with_an_entry_never_gets_another_image(
    lab: FlaskClient, refresh: Callable[[], object]
) -> None:
    table.set_entry("ada", MAC, "ubuntu/jammy", arch="amd64")
    refresh()
    answer = lab.get(f"/ipxe.cfg-{DASHES}")
    assert answer.status_code == 200
    assert "ubuntu/jammy amd64 is not stored." in answer.text
    assert "kernel" not in answer.text


def test_a_configuration_changes_with_the_publication_and_the_table(
    lab: FlaskClient, refresh: Callable[[], object]
) -> None:
    resource = images.image(release="jammy", answers_to=["generic"], subarch="ga-22.04")
    table.set_entry("ada", "default", "ubuntu/jammy", arch="amd64")
    refresh()
    assert "/jammy/stable/20260105/" in lab.get("/ipxe.cfg-default-i386").text
    images.switch(resource, images.FILES, version="20260201")
    refresh()
    assert "/jammy/stable/20260201/" in lab.get("/ipxe.cfg-default-i386").text
    db.session.execute(update(Blob).values(state="bad"))
    images.publish()
    refresh()
    assert "is damaged here" in lab.get("/ipxe.cfg-default-i386").text
    table.unset("ada", "amd64")
    refresh()
    assert lab.get("/ipxe.cfg-default-i386").status_code == 404


@pytest.mark.parametrize("host", ["a b", "rack\nboot", "rack/x", "${x}", "rack:123456", "[::1"])
def test_a_host_that_could_add_to_a_script_is_refused(lab: FlaskClient, host: str) -> None:
    answer = lab.get("/ipxe.cfg", environ_overrides={"HTTP_HOST": host})
    assert (answer.status_code, answer.text) == (400, "The request needs a valid Host header.\n")


def test_the_address_of_the_settings_replaces_the_host(lab: FlaskClient) -> None:
    boot = lab.application.extensions["slipway.rack"].boot
    boot._rack_url = "http://images.lab.example/"
    text = lab.get("/ipxe.cfg", headers={"Host": "evil.example"}).text
    assert "http://images.lab.example/ipxe.cfg-" in text
    assert "evil" not in text


def test_without_the_database_the_last_table_stays_in_force(
    lab: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = lab.get("/ipxe.cfg-default-i386").text
    db.session.rollback()
    db.engine.dispose()
    monkeypatch.setattr(db.engine, "connect", _refuse)
    assert lab.get("/ipxe.cfg-default-i386").text == before
    assert BASE in before


def _refuse() -> None:
    raise AssertionError("the database was asked")
