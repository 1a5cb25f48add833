# SPDX-License-Identifier: Apache-2.0
"""Configurations of boot loaders (rule: boot-config-paths)."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.services.boot.test_choosing import MAC, entry, table
from webapp.errors import Problem
from webapp.services.boot import configs
from webapp.services.boot.choosing import Outcome, decide
from webapp.services.boot.configs import Asked, Loader

BASE = "http://10.0.2.2:5248/"
FOLDER = f"{BASE}images/ubuntu/amd64/ga-24.04/noble/stable/20260105"
ROOT = f"root=squash:{FOLDER}/squashfs ip=dhcp overlayroot=tmpfs"
LOADERS: tuple[Loader, ...] = ("ipxe", "grub", "pxelinux")


def outcome(parameters: str = "", machine: str = MAC) -> Outcome:
    mine = replace(entry(machine or "amd64"), parameters=parameters)
    return decide(table(mine), machine, "amd64")


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("ipxe.cfg", Asked("ipxe", "", "")),
        ("ipxe.cfg-52-54-00-12-34-56", Asked("ipxe", MAC, "")),
        ("ipxe.cfg-default-i386", Asked("ipxe", "", "amd64")),
        ("grub/grub.cfg", Asked("grub", "", "")),
        ("grub/grub.cfg-52:54:00:12:34:56", Asked("grub", MAC, "")),
        ("grub/grub.cfg-01-52-54-00-12-34-56", Asked("grub", MAC, "")),
        ("grub/grub.cfg-default-x86_64", Asked("grub", "", "amd64")),
        ("grub/grub.cfg-default-arm64-generic", Asked("grub", "", "arm64")),
        ("grub/grub.cfg-default-x86_64-", Asked("grub", "", "amd64")),
        ("grub/grub.cfg-default-x86_64-52:54:00:12:34:56", Asked("grub", MAC, "amd64")),
        ("ipxe.cfg-default-arm64-52-54-00-12-34-56", Asked("ipxe", MAC, "arm64")),
        ("pxelinux.cfg/01-52-54-00-12-34-56", Asked("pxelinux", MAC, "")),
        ("pxelinux.cfg/default", Asked("pxelinux", "", "amd64")),
        ("pxelinux.cfg/default.amd64-generic", Asked("pxelinux", "", "amd64")),
        ("pxelinux.cfg/52-54-00-12-34-56", None),
        ("ipxe.cfg-", None),
        ("ipxe.cfg-x\n", None),
        ("grub/grub.cfg-52:54:00:12:34:5", None),
        ("grub/x86_64-efi/command.lst", None),
        ("images/ubuntu", None),
    ],
)
def test_the_paths_of_boot_loaders_are_read(path: str, wanted: Asked | None) -> None:
    assert configs.asked(path) == wanted


def test_ipxe_gets_one_version_and_the_machines_parameters() -> None:
    lines = configs.text("ipxe", outcome("console=ttyS0 quiet"), BASE).splitlines()
    assert lines[0] == "#!ipxe"
    assert lines[2] == (
        f"kernel {FOLDER}/boot-kernel initrd=boot-initrd BOOTIF=01-${{netX/mac:hexhyp}} {ROOT} "
        "console=ttyS0 quiet || goto failed"
    )
    assert lines[3] == f"initrd {FOLDER}/boot-initrd || goto failed"


def test_grub_reads_files_from_where_it_came() -> None:
    text = configs.text("grub", outcome("quiet"), BASE)
    path = FOLDER.removeprefix(BASE)
    quoted = " ".join(f"'{word}'" for word in f"BOOTIF=01-52-54-00-12-34-56 {ROOT} quiet".split())
    assert f"if linux /{path}/boot-kernel {quoted}; then\n" in text
    assert f"initrd /{path}/boot-initrd;" in text
    assert "BOOTIF" not in configs.text("grub", outcome(machine=""), BASE)


def test_grub_itself_can_read_what_it_gets() -> None:
    missing = decide(table(entry(MAC, release="jammy"), entry()), MAC, "amd64")
    odd = "odd=a|b;c&d(e)<f>*?[g]^~!%h@i console=ttyS0"
    texts = [configs.text("grub", one, BASE) for one in (outcome(odd), outcome(""), missing)]
    for text in (configs.chooser("grub", BASE), *texts):
        subprocess.run(["grub-script-check"], input=text, text=True, check=True)


def test_grub_leaves_its_prompt_to_no_machine() -> None:
    *_, wait, end = configs.chooser("grub", BASE).splitlines()
    assert (wait, end) == ("sleep 5", "exit 1")


def test_pxelinux_adds_the_interface_itself() -> None:
    text = configs.text("pxelinux", outcome("quiet"), BASE)
    assert f"  KERNEL {FOLDER}/boot-kernel\n  INITRD {FOLDER}/boot-initrd\n" in text
    assert f"  APPEND {ROOT} quiet\n  IPAPPEND 2\n" in text


def test_parameters_of_the_entry_replace_those_that_slipway_adds() -> None:
    own = "root=/dev/nfs ip=eth0:dhcp"
    assert configs.words(outcome(own), BASE) == ["overlayroot=tmpfs", *own.split()]


@pytest.mark.parametrize("loader", LOADERS)
def test_a_machine_whose_image_is_missing_is_told_so_and_boots_no_other(loader: Loader) -> None:
    missing = decide(table(entry(MAC, release="jammy"), entry()), MAC, "amd64")
    text = configs.text(loader, missing, BASE)
    assert "ubuntu/jammy amd64 is not stored." in text
    assert "boot-kernel" not in text
    ends = {"ipxe": "exit 0\n", "grub": "exit 1\n", "pxelinux": "LOCALBOOT 0\n"}
    assert text.endswith(ends[loader])


@pytest.mark.parametrize(
    "parameters",
    [
        "a\nb", "a\rb", "a\tb", "a'b", 'a"b', "a`b", "a\\b", "${x}", "$x", "a || reboot", "a && b",
        "a ; b", "a #b", "#", "{", "ä", "a\x00", "\u2028", "x" * 1001,
    ],
)  # fmt: skip
def test_parameters_that_a_loader_would_read_as_more_are_refused(parameters: str) -> None:
    assert configs.flaw(parameters)
    with pytest.raises(Problem):
        configs.text("ipxe", outcome(parameters), BASE)


@pytest.mark.parametrize(
    "parameters",
    ["console=ttyS0,115200n8 --- quiet", "ds=nocloud;s=http://10.0.0.1/x/", "a=b|c", "x=%d !"],
)
def test_usual_parameters_are_accepted(parameters: str) -> None:
    assert configs.flaw(parameters) == ""


@given(st.text(max_size=60))
def test_no_text_adds_a_line_or_a_command(parameters: str) -> None:
    try:
        texts = {loader: configs.text(loader, outcome(parameters), BASE) for loader in LOADERS}
    except Problem:
        return
    plain = {loader: configs.text(loader, outcome("x"), BASE) for loader in LOADERS}
    for loader, text in texts.items():
        assert len(text.splitlines()) == len(plain[loader].splitlines())
    assert texts["ipxe"].split().count("||") == plain["ipxe"].split().count("||")
    assert texts["ipxe"].count("${") == plain["ipxe"].count("${")
    assert texts["grub"].count("'") % 2 == 0
