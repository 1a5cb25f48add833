# SPDX-License-Identifier: Apache-2.0
"""What a machine boots, and why."""

from __future__ import annotations

from dataclasses import replace

import pytest

from webapp.services.boot.choosing import (
    Entry,
    Outcome,
    StoredImage,
    Table,
    arch_of,
    decide,
)
from webapp.streams.restrictions import read_mac

MAC = "52:54:00:12:34:56"
FILES = {name: name for name in ("boot-kernel", "boot-initrd", "squashfs")}
NOBLE = StoredImage(
    "ubuntu", "noble", "amd64", "ga-24.04", ("generic", "ga-24.04"), False,
    "20260105", "ubuntu/amd64/ga-24.04/noble/stable/20260105", FILES,
)  # fmt: skip
HWE = StoredImage(
    "ubuntu", "noble", "amd64", "hwe-24.04", ("hwe-24.04",), False,
    "20260105", "ubuntu/amd64/hwe-24.04/noble/stable/20260105", FILES,
)  # fmt: skip


def table(*entries: Entry, images: tuple[StoredImage, ...] = (NOBLE, HWE)) -> Table:
    grouped = {(one.os, one.release, one.arch): images for one in images}
    return Table({one.machine: one for one in entries}, grouped)


def entry(machine: str = "amd64", kernel: str = "generic", release: str = "noble") -> Entry:
    return Entry(machine, "ubuntu", release, "amd64", kernel, "")


def test_a_machines_own_entry_wins_over_the_default() -> None:
    found = table(entry(), entry(MAC, "hwe-24.04"))
    own, other = decide(found, MAC, "amd64"), decide(found, "52:54:00:00:00:01", "amd64")
    assert (own.image, own.has_own_entry, own.why) == (HWE, True, f"{MAC} has an entry of its own.")
    assert (other.image, other.has_own_entry) == (NOBLE, False)
    assert other.why == "52:54:00:00:00:01 has no entry, so it gets the default image for amd64."
    assert own.path("boot-kernel") == (
        "images/ubuntu/amd64/hwe-24.04/noble/stable/20260105/boot-kernel"
    )
    assert own.path("boot-dtb") == ""


def test_without_an_entry_and_a_default_nothing_is_booted() -> None:
    found = decide(table(entry()), MAC, "arm64")
    assert (found.image, found.entry) == (None, None)
    assert found.why == f"{MAC} has no entry, and there is no default image for arm64."
    assert found.problem is not None
    assert "slipway boot set default NAME --arch arm64" in found.problem.next_step


@pytest.mark.parametrize(
    ("images", "wanted", "words", "next_step"),
    [
        ((), entry(), "ubuntu/noble amd64 isn't stored.", "image select ubuntu/noble"),
        ((NOBLE,), entry(kernel="hwe-24.04"), "has no kernel hwe-24.04.", "another kernel"),
        (
            (replace(NOBLE, is_binned=True, version=""),),
            entry(),
            "is in the bin.",
            "slipway image restore",
        ),
        ((replace(NOBLE, version=""),), entry(), "isn't published yet.", "slipway import watch"),
        (
            (replace(NOBLE, files={"squashfs": "x"}),),
            entry(),
            "no boot-kernel and no boot-initrd",
            "Ubuntu",
        ),
        (
            (replace(NOBLE, damaged=frozenset({"squashfs"})),),
            entry(),
            "is damaged here: squashfs.",
            "import",
        ),
        ((replace(NOBLE, folder="a b"),), entry(), "names that boot loaders can't read", "letters"),
    ],
    ids=["missing", "kernel", "bin", "unpublished", "no-kernel", "damaged", "name"],
)
def test_what_cannot_be_booted_is_said_with_the_next_step(
    images: tuple[StoredImage, ...], wanted: Entry, words: str, next_step: str
) -> None:
    outcome: Outcome = decide(table(wanted, images=images), "", "amd64")
    assert outcome.image is None
    assert outcome.problem is not None
    assert words in outcome.problem.what
    assert next_step in outcome.problem.next_step


@pytest.mark.parametrize(
    "text", ["52:54:00:12:34:56", "52-54-00-12-34-56", " 525400123456 ", "5254.0012.3456"]
)
def test_mac_addresses_are_read_however_they_are_written(text: str) -> None:
    assert read_mac(text) == MAC
    assert read_mac(text.upper()) == MAC


@pytest.mark.parametrize(
    "text", ["", "default", "52:54:00:12:34", "52:54:00:12:34:5g", "\u0665" * 12]
)
def test_other_text_is_no_mac_address(text: str) -> None:
    assert read_mac(text) == ""


def test_loaders_words_for_architectures_are_known() -> None:
    assert [arch_of(word) for word in ("i386", "x86_64", "arm64", "aarch64", "ppc64")] == [
        "amd64", "amd64", "arm64", "arm64", "ppc64el",
    ]  # fmt: skip
