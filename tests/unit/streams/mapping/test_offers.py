# SPDX-License-Identifier: Apache-2.0
"""The whole catalogue, one product of each kind, and the product gate."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import Any

import pytest

from tests.unit.streams import shapes
from tests.unit.streams.mapping.products import GA_NOBLE, NOBLE, STREAM, by_answer
from tests.unit.streams.shapes import Tree, changed, item, mapped, offer
from webapp.models import BootSourceCache
from webapp.streams.mapping import map_products
from webapp.streams.offers import Build, Item, Mapped, Notification, Offer

# -- the whole catalogue


def test_every_product_of_the_catalogue_is_offered_or_explained(catalogue: Mapped) -> None:
    assert len(catalogue.offers) == 252
    assert catalogue.skipped == ()
    assert catalogue.notifications == (
        Notification(
            product="com.ubuntu.maas:stable:1:maas-notification",
            version="1.0",
            maas_version="2.9.0",
            message="<strong>New</strong>\n",
        ),
    )
    assert Counter(one.os for one in catalogue.offers) == {
        "ubuntu": 242,
        "centos": 3,
        "esxi": 1,
        "ubuntu-core": 1,
        "grub-efi": 1,
        "grub-efi-signed": 1,
        "grub-ieee1275": 1,
        "pxelinux": 2,
    }


def test_offers_come_in_product_order_whatever_the_documents_order(catalogue: Mapped) -> None:
    names = [one.product for one in catalogue.offers]
    assert names == sorted(names)
    assert map_products(reversed(shapes.parsed_catalogue())) == catalogue


def test_each_name_is_served_by_one_offer_which_has_it_among_its_own(catalogue: Mapped) -> None:
    assert len(by_answer(catalogue.offers)) > 900
    for one in catalogue.offers:
        assert one.answers_to[0] == one.subarch
        assert set(one.answers_to) <= {one.subarch, "generic", *one.subarches}


def test_every_name_that_a_generic_kernel_claims_is_served(catalogue: Mapped) -> None:
    served = by_answer(catalogue.offers)
    for one in catalogue.offers:
        if one.kflavor == "generic":
            for name in one.subarches:
                assert (one.os, one.release, one.arch, one.label, name) in served


def test_generic_is_the_kernel_that_each_release_came_with(catalogue: Mapped) -> None:
    served = by_answer(catalogue.offers)
    ubuntu = [one for one in catalogue.offers if one.os == "ubuntu"]
    for one in ubuntu:
        if one.arch == "armhf" and one.release == "precise":
            continue  # the one release and arch that has a board's kernel only
        home = served["ubuntu", one.release, one.arch, "stable", "generic"]
        letter = {"precise": "hwe-p", "trusty": "hwe-t"}
        assert home.subarch == letter.get(one.release, f"ga-{one.release_version}")
        assert home.kflavor == "generic"


def test_boot_resources_have_distinct_names(catalogue: Mapped) -> None:
    columns = ("os", "arch", "subarch", "release", "kflavor", "label")
    keys = Counter(tuple(getattr(one, name) for name in columns) for one in catalogue.offers)
    assert set(keys.values()) == {1}


def test_an_offer_is_a_row_of_the_boot_source_cache(catalogue: Mapped) -> None:
    columns = [column.name for column in BootSourceCache.__table__.columns]
    assert [*Offer.__dataclass_fields__, "versions"] == columns[columns.index("product") :]
    for one in catalogue.offers[:3]:
        row = BootSourceCache(source_id=1, **one.as_columns())
        assert row.answers_to == list(one.answers_to)
        assert tuple(Item.from_dict(data) for data in row.items) == one.items
        assert one.package_list is None or Item.from_dict(row.package_list) == one.package_list
        assert tuple(Build.from_dict(data) for data in row.older) == one.older


def manifest(path: str) -> Item:
    return Item("manifest", "manifest", path, len(path), item("manifest", path)["sha256"])


# -- one product of each kind (rules: stored-file-types, resource-names)


def test_ubuntu_kernel_in_full() -> None:
    path = "noble/amd64/20250717"
    boot = f"{path}/ga-24.04/generic"
    found = offer(NOBLE)
    assert found == Offer(
        product="com.ubuntu.maas.stable:v3:boot:24.04:amd64:ga-24.04",
        os="ubuntu",
        arch="amd64",
        subarch="ga-24.04",
        release="noble",
        kflavor="generic",
        label="stable",
        version="20250717",
        size=sum(one.size for one in found.items),
        title="Ubuntu 24.04 LTS",
        release_title="24.04 LTS",
        release_codename="Noble Numbat",
        release_version="24.04",
        support_eol=date(2029, 5, 31),
        support_esm_eol=date(2034, 4, 25),
        bootloader_type="",
        is_rolling=False,
        subarches=tuple(GA_NOBLE.subarches.split(",")),
        answers_to=("ga-24.04", *(n for n in GA_NOBLE.subarches.split(",") if n != "ga-24.04")),
        items=tuple(
            Item(name, name, where, len(where), item(name, where)["sha256"], extra)
            for name, where, extra in (
                ("boot-initrd", f"{boot}/boot-initrd", {"kpackage": "linux-generic"}),
                ("boot-kernel", f"{boot}/boot-kernel", {"kpackage": "linux-generic"}),
                ("squashfs", f"{path}/squashfs", {}),
            )
        ),
        package_list=manifest(f"{path}/squashfs.manifest"),
        older=found.older,
    )
    [before] = found.older
    assert (before.version, before.size) == ("20250710", sum(one.size for one in before.items))
    assert [one.filename for one in before.items] == [one.filename for one in found.items]
    assert before.package_list == manifest("noble/amd64/20250710/squashfs.manifest")


@pytest.mark.parametrize(
    ("products", "name", "flavor", "title", "files"),
    [
        (
            shapes.centos("centos70", "7.0", "CentOS 7", ("20240604_01", "20240622_01")),
            "centos/centos70 amd64/generic 20240622_01",
            "generic",
            "CentOS 7",
            {"root-tgz": "root-tgz"},
        ),
        (
            shapes.centos("centos66", "6.6", "CentOS 6.6", ("20180501_01",)),
            "centos/centos66 amd64/generic 20180501_01",
            "generic",
            "CentOS 6",
            {"root-tgz": "root-tgz"},
        ),
        (
            shapes.centos("8", "8", "CentOS 8", ("20211104_01",)),
            "centos/8 amd64/generic 20211104_01",
            "generic",
            "CentOS 8",
            {"root-tgz": "root-tgz"},
        ),
        (
            shapes.esxi(),
            "esxi/6.7 amd64/generic 20240101",
            "generic",
            "VMware ESXi 6.7",
            {"root-dd.gz": "root-dd.gz"},
        ),
        (
            shapes.ubuntu_core(),
            "ubuntu-core/18-pc amd64/generic 20190101",
            "pc-kernel",
            "Ubuntu Core 18 PC",
            {"root-dd.xz": "root-dd.xz"},
        ),
        (
            {k: v for k, v in shapes.loaders().items() if "grub-efi-signed" in k},
            "grub-efi-signed/uefi amd64/generic 20231004.0",
            "bootloader",
            "GRUB (UEFI, signed)",
            {"grub2-signed.tar.xz": "archive.tar.xz", "shim-signed.tar.xz": "archive.tar.xz"},
        ),
    ],
)
def test_other_systems_are_named_and_titled(
    products: Tree, name: str, flavor: str, title: str, files: dict[str, str]
) -> None:
    found = offer(products)
    got = f"{found.os}/{found.release} {found.arch}/{found.subarch} {found.version}"
    assert (got, found.kflavor, found.title) == (name, flavor, title)
    assert {one.filename: one.ftype for one in found.items} == files
    assert found.answers_to == ("generic",)


def test_boot_loader_keeps_its_firmware_and_where_it_came_from() -> None:
    found = offer({k: v for k, v in shapes.loaders().items() if "ppc64el" in k})
    assert (found.bootloader_type, found.release) == ("open-firmware", "open-firmware")
    assert found.items[0].extra == {
        "src_package": "grub2",
        "src_release": "xenial",
        "src_version": "2.02~beta2-36ubuntu3.32",
    }


# -- product gate (rule: product-gate)
GATE = [
    (f"{STREAM}:v2:boot:24.04:amd64:ga", {"os": "ubuntu"}, ""),
    (f"{STREAM}:v3:boot:24.04:amd64:ga", {"os": "ubuntu"}, ""),
    (f"{STREAM}:V3:boot:24.04:amd64:ga", {"os": "ubuntu"}, ""),
    (f"{STREAM}:v3:boot:24.04:amd64:ga", {"os": None}, ""),
    (f"{STREAM}:v1:boot:24.04:amd64:ga", {"os": "ubuntu"}, "formats v2 and v3"),
    (f"{STREAM}:v4:boot:24.04:amd64:ga", {"os": "ubuntu"}, "formats v2 and v3"),
    (f"{STREAM}:v3+platform:24.04:amd64", {"os": "ubuntu"}, "formats v2 and v3"),
    (f"{STREAM}:24.04:amd64", {"os": None}, ""),
    ("manager.site.example.stream:ubuntu:noble:amd64:ga-24.04-generic", {"os": "ubuntu"}, ""),
    ("maas:boot:ubuntu:amd64:ga-24.04:noble", {"os": "ubuntu"}, ""),
    ("maas:boot:ubuntu-core:amd64:generic:18-pc", {"os": "ubuntu-core"}, ""),
    (f"{STREAM}:v4:boot:18:amd64:pc", {"os": "ubuntu-core"}, ""),
    (f"{STREAM}:v3:boot:18:amd64:pc", {"os": "ubuntu-core"}, "only format v4"),
    (f"{STREAM}:centos-bases:9:amd64", {"os": "centos"}, ""),
    ("anything", {"os": "windows"}, ""),
    (f"{STREAM}:1:pxelinux:pxe:i386", ("pxe", "pxelinux", "i386"), ""),
    (f"{STREAM}:1:x", ("uefi", "grub-efi-signed", "amd64"), ""),
    (f"{STREAM}:1:x", ("uefi", "grub-efi", "arm64"), ""),
    (f"{STREAM}:1:x", ("open-firmware", "grub-ieee1275", "ppc64el"), ""),
    (f"{STREAM}:2:x", ("pxe", "pxelinux", "i386"), "only format 1"),
    (f"{STREAM}:v1:x", ("pxe", "pxelinux", "i386"), "only format 1"),
    (f"{STREAM}:1:x", ("pxe", "pxelinux", "amd64"), ""),
    ("maas:boot:pxelinux:i386:generic:pxe", ("pxe", "pxelinux", "i386"), ""),
    ("manager.site.example.stream:grub-efi:uefi:arm64", ("uefi", "grub-efi", "arm64"), ""),
    (f"{STREAM}:1:x", ("pxe", "pxelinux", "arm64"), "no machine boots"),
    (f"{STREAM}:1:x", ("uefi", "grub-efi", "amd64"), "no machine boots"),
    (f"{STREAM}:1:x", ("uefi", "grub-efi-signed", "arm64"), "no machine boots"),
    (f"{STREAM}:1:x", ("coreboot", "grub-efi", "arm64"), "no machine boots"),
]


@pytest.mark.parametrize(("name", "fields", "reason"), GATE)
def test_product_gate(name: str, fields: Any, reason: str) -> None:
    if isinstance(fields, tuple):
        firmware, os, arch = fields
        fields = {"bootloader-type": firmware, "os": os, "arch": arch}
    (product,) = changed(NOBLE, **fields).values()
    result = mapped({name: product})
    if reason:
        ((skipped,),) = (result.skipped,)
        assert (skipped.product, skipped.version) == (name, "")
        assert reason in skipped.reason
        assert not result.offers
    else:
        assert [one.product for one in result.offers] == [name]
        assert not result.skipped


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"arch": None}, "it has no arch"),
        ({"label": None}, "it has no label"),
        ({"label": ""}, "it has no label"),
        ({"release": None}, "it has no release"),
        ({"versions": {}}, "it has no version"),
        ({"release": ".."}, "its release can't be part of a URL: '..'"),
        ({"release": "a/b"}, "its release can't be part of a URL: 'a/b'"),
        ({"arch": "amd 64"}, "its arch can't"),
        ({"os": "\u0440h\u0435l"}, "its os can't"),
        ({"subarch": "-x"}, "its subarch can't"),
        ({"subarches": "generic,../x"}, "its subarch can't be part of a URL: '../x'"),
        ({"kflavor": "a%2fb", "subarch": "generic"}, "its kflavor can't"),
    ],
)
def test_product_without_a_proper_name_is_skipped_with_the_reason(
    fields: Tree, reason: str
) -> None:
    result = mapped(changed(NOBLE, **fields))
    assert not result.offers
    ((skipped,),) = (result.skipped,)
    assert skipped.reason.startswith(reason)


def test_what_is_not_given_has_its_usual_value() -> None:
    bare = changed(
        NOBLE,
        **dict.fromkeys(
            "os kflavor subarch subarches version release_title release_codename krel "
            "support_eol support_esm_eol".split()
        ),
    )
    found = offer(bare)
    assert (found.os, found.subarch, found.kflavor) == ("ubuntu", "generic", "generic")
    assert (found.support_eol, found.support_esm_eol, found.release_version) == (None, None, "")
    assert found.title == "Ubuntu noble"
    assert found.answers_to == ("generic",)


def test_date_that_cannot_be_read_is_no_date() -> None:
    assert offer(changed(NOBLE, support_eol="some day")).support_eol is None


def test_keys_repeated_on_each_item_count_as_the_products() -> None:
    (product,) = changed(NOBLE, label=None, release=None).values()
    for version in product["versions"].values():
        for one in version["items"].values():
            one.update(label="candidate", release="noble")
    found = offer({shapes.ubuntu_name(GA_NOBLE): product})
    assert (found.label, found.release) == ("candidate", "noble")
