# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.streams import shapes
from webapp.streams.mapping import map_products
from webapp.streams.osnames import is_lts, order_key, os_title, release_title

TITLES = [
    ("ubuntu", "noble", "24.04 LTS", "Ubuntu 24.04 LTS"),
    ("ubuntu", "questing", "25.10", "Ubuntu 25.10"),
    ("ubuntu", "noble", "", "Ubuntu noble"),
    ("ubuntu-core", "18", "18", "Ubuntu Core 18"),
    ("centos", "centos66", "", "CentOS 6"),
    ("centos", "centos66", "CentOS 6.6", "CentOS 6"),
    ("centos", "centos65", "", "CentOS 6.5"),
    ("centos", "centos60", "", "CentOS 6"),
    ("centos", "centos70", "CentOS 7", "CentOS 7"),
    ("centos", "centos71", "", "CentOS 7.1"),
    ("centos", "centos7", "", "CentOS 7"),
    ("centos", "centos70-lab", "", "CentOS 7 lab"),
    ("centos", "8", "CentOS 8", "CentOS 8"),
    ("centos", "8", "", "CentOS 8"),
    ("centos", "centos700", "", "centos700"),
    ("esxi", "6", "", "VMware ESXi 6"),
    ("esxi", "6.7", "", "VMware ESXi 6.7"),
    ("esxi", "6.7.0", "", "VMware ESXi 6.7.0"),
    ("esxi", "6.7.0-custom", "", "VMware ESXi 6.7.0 custom"),
    ("esxi", "6.7-custom", "VMware ESXi", "VMware ESXi 6.7 custom"),
    ("esxi", "8.0U2", "", "VMware ESXi 8.0 U2"),
    ("esxi", "lab", "", "VMware ESXi lab"),
    ("windows", "win2019", "Windows Server 2019", "Windows Server 2019"),
    ("rhel", "9", "", "Red Hat Enterprise Linux 9"),
    ("haiku", "r1", "R1", "haiku R1"),
    ("haiku", "", "", "haiku"),
    ("esxi", "", "", "VMware ESXi"),
]


@pytest.mark.parametrize(("os", "release", "stream_title", "title"), TITLES)
def test_release_titles(os: str, release: str, stream_title: str, title: str) -> None:
    assert release_title(os, release, stream_title) == title


@pytest.mark.parametrize(
    ("os", "title"), [("ubuntu", "Ubuntu"), ("esxi", "VMware ESXi"), ("haiku", "haiku")]
)
def test_os_titles(os: str, title: str) -> None:
    assert os_title(os) == title


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("24.04 LTS", True),
        ("Ubuntu 24.04 LTS", True),
        ("24.10", False),
        ("", False),
        ("CentOS 7", False),
        ("ULTSUM", False),
    ],
)
def test_long_term_support_is_read_from_the_title(title: str, expected: bool) -> None:
    assert is_lts(title) is expected


def test_list_has_ubuntu_lts_first_and_the_newest_on_top() -> None:
    offers = map_products(shapes.parsed_catalogue()).offers
    ordered = sorted(offers, key=order_key)
    names = list(dict.fromkeys(f"{one.os}/{one.release}" for one in ordered))
    assert names == [
        *("ubuntu/resolute", "ubuntu/noble", "ubuntu/jammy", "ubuntu/focal", "ubuntu/bionic"),
        *("ubuntu/xenial", "ubuntu/trusty", "ubuntu/precise"),
        *("ubuntu/questing", "ubuntu/plucky", "ubuntu/oracular", "ubuntu/mantic", "ubuntu/lunar"),
        *("ubuntu/kinetic", "ubuntu/impish", "ubuntu/hirsute", "ubuntu/groovy"),
        *("centos/8", "centos/centos70", "centos/centos66"),
        *("grub-ieee1275/open-firmware", "grub-efi/uefi", "grub-efi-signed/uefi"),
        *("pxelinux/pxe", "ubuntu-core/18-pc", "esxi/6.7"),
    ]


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_any_names_have_a_title(os: str, release: str, stream_title: str) -> None:
    assert (
        release_title(os, release, stream_title)
        .casefold()
        .startswith(os_title(os).casefold().rstrip())
    )


@given(st.sampled_from(["centos", "esxi"]), st.text(max_size=30), st.text(max_size=30))
def test_any_release_of_a_system_titled_by_rule_has_a_title(
    os: str, release: str, stream_title: str
) -> None:
    assert release_title(os, release, stream_title).startswith(os_title(os)[:1])
