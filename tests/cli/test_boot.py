# SPDX-License-Identifier: Apache-2.0
"""``slipway boot``."""

from __future__ import annotations

import lzma

import pytest
from flask import Flask

from tests.cli.shell import Shell, refused
from tests.rack import images
from tests.unit.services.boot.test_unpacking import archive
from webapp.services.boot import loaders

MAC = "52:54:00:12:34:56"


@pytest.fixture(autouse=True)
def noble(region: Flask) -> None:
    images.image()


def test_boot_loaders_are_listed(slipway: Shell) -> None:
    assert "No boot loaders are stored." in slipway("boot", "loaders").stdout
    content = lzma.compress(archive({"bootx64.efi": b"x", "ldlinux.c32": b"y"}))
    images.image(
        {"a.tar.xz": content, "b.tar.xz": b"broken" * 99}, os="grub-efi-signed", release="uefi",
        subarch="generic", bootloader_type="uefi",
    )  # fmt: skip
    loaders.reconcile()
    assert "! A boot loader's archive can't be unpacked." in slipway("boot", "loaders").stdout


def test_entries_are_set_listed_explained_and_removed(slipway: Shell) -> None:
    assert "Next: slipway boot set default ubuntu/noble" in slipway("boot", "list").stdout
    done = slipway("boot", "set", "default", "ubuntu/noble", "--parameters", "quiet")
    assert done.stdout == "Machines on amd64: ubuntu/noble amd64\n"
    done = slipway("boot", "set", MAC.replace(":", "-"), "ubuntu/jammy")
    assert f"{MAC}: ubuntu/jammy amd64\n! ubuntu/jammy amd64 isn't stored. Next:" in done.stdout
    listed = slipway("boot", "list").stdout
    assert "default for amd64" in listed
    assert "20260105" in listed
    said = slipway("boot", "explain", "52:54:00:00:00:01").stdout
    assert "52:54:00:00:00:01 has no entry, so it gets the default image for amd64." in said
    assert "/images/ubuntu/amd64/ga-24.04/noble/stable/20260105/boot-kernel" in said
    script = slipway("boot", "explain", "52:54:00:00:00:01", "--config", "ipxe").stdout
    assert script.startswith("#!ipxe\n")
    assert f"Removed the entry of {MAC}." in slipway("boot", "unset", MAC).stdout
    assert f"{MAC} has no entry." in refused(slipway("boot", "unset", MAC))
    assert "--parameters: Boot loaders can't pass on" in refused(
        slipway("boot", "set", MAC, "ubuntu/noble", "--parameters", "a && b")
    )


def test_a_default_is_named_by_any_word_for_its_architecture(slipway: Shell) -> None:
    done = slipway("boot", "set", "default", "ubuntu/noble", "--arch", "x86_64")
    assert done.stdout == "Machines on amd64: ubuntu/noble amd64\n"
    slipway("boot", "unset", "default", "--arch", "x86_64")
    assert "No machine has an image yet." in slipway("boot", "list").stdout


def test_without_an_image_there_is_no_configuration_to_print(slipway: Shell) -> None:
    words = refused(slipway("boot", "explain", MAC, "--config", "grub"))
    assert f"{MAC} has no entry, and there is no default image for amd64." in words
    assert "slipway boot set default" in words
