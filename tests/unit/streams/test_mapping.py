# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
from collections import Counter, defaultdict
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.streams import shapes
from tests.unit.streams.shapes import Tree, changed, item, kernel, mapped, offer
from webapp.models import BootSourceCache
from webapp.streams.mapping import map_products
from webapp.streams.offers import Item, Mapped, Notification, Offer, Skipped

GA_NOBLE = kernel("noble", "amd64", "ga-24.04")
NOBLE = {shapes.ubuntu_name(GA_NOBLE): shapes.ubuntu(GA_NOBLE)}


@pytest.fixture(scope="module")
def catalogue() -> Mapped:
    return map_products(shapes.parsed_catalogue())


def by_answer(offers: Any) -> dict[tuple[str, ...], Offer]:
    """Who serves which name; fails when two do."""
    found: dict[tuple[str, ...], Offer] = {}
    for one in offers:
        for name in one.answers_to:
            key = (one.os, one.release, one.arch, one.label, name)
            assert key not in found, (key, found[key].product, one.product)
            found[key] = one
    return found


def answers(products: Tree) -> dict[str, tuple[str, ...]]:
    return {one.subarch: one.answers_to for one in mapped(products).offers}


def with_items(products: Tree, items: Tree, serial: str = "20250717") -> Tree:
    """The same products with one version, of these items."""
    return changed(products, versions={serial: {"items": items}})


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
    assert list(Offer.__dataclass_fields__) == columns[columns.index("product") :]
    for one in catalogue.offers[:3]:
        row = BootSourceCache(source_id=1, **one.as_columns())
        assert row.answers_to == list(one.answers_to)
        assert tuple(Item.from_dict(data) for data in row.items) == one.items


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
    )


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

STREAM = "com.ubuntu.maas.stable"
GATE = [
    (f"{STREAM}:v2:boot:24.04:amd64:ga", {"os": "ubuntu"}, ""),
    (f"{STREAM}:v3:boot:24.04:amd64:ga", {"os": "ubuntu"}, ""),
    (f"{STREAM}:V3:boot:24.04:amd64:ga", {"os": "ubuntu"}, ""),
    (f"{STREAM}:v3:boot:24.04:amd64:ga", {"os": None}, ""),
    (f"{STREAM}:v1:boot:24.04:amd64:ga", {"os": "ubuntu"}, "v2 and v3 only"),
    (f"{STREAM}:v4:boot:24.04:amd64:ga", {"os": "ubuntu"}, "v2 and v3 only"),
    (f"{STREAM}:v3+platform:24.04:amd64", {"os": "ubuntu"}, "v2 and v3 only"),
    (f"{STREAM}:24.04:amd64", {"os": None}, ""),
    ("manager.site.example.stream:ubuntu:noble:amd64:ga-24.04-generic", {"os": "ubuntu"}, ""),
    ("maas:boot:ubuntu:amd64:ga-24.04:noble", {"os": "ubuntu"}, ""),
    ("maas:boot:ubuntu-core:amd64:generic:18-pc", {"os": "ubuntu-core"}, ""),
    (f"{STREAM}:v4:boot:18:amd64:pc", {"os": "ubuntu-core"}, ""),
    (f"{STREAM}:v3:boot:18:amd64:pc", {"os": "ubuntu-core"}, "v4 only"),
    (f"{STREAM}:centos-bases:9:amd64", {"os": "centos"}, ""),
    ("anything", {"os": "windows"}, ""),
    (f"{STREAM}:1:pxelinux:pxe:i386", ("pxe", "pxelinux", "i386"), ""),
    (f"{STREAM}:1:x", ("uefi", "grub-efi-signed", "amd64"), ""),
    (f"{STREAM}:1:x", ("uefi", "grub-efi", "arm64"), ""),
    (f"{STREAM}:1:x", ("open-firmware", "grub-ieee1275", "ppc64el"), ""),
    (f"{STREAM}:2:x", ("pxe", "pxelinux", "i386"), "format 1 only"),
    (f"{STREAM}:v1:x", ("pxe", "pxelinux", "i386"), "format 1 only"),
    (f"{STREAM}:1:x", ("pxe", "pxelinux", "amd64"), ""),
    ("maas:boot:pxelinux:i386:generic:pxe", ("pxe", "pxelinux", "i386"), ""),
    ("manager.site.example.stream:grub-efi:uefi:arm64", ("uefi", "grub-efi", "arm64"), ""),
    (f"{STREAM}:1:x", ("pxe", "pxelinux", "arm64"), "no machine is booted"),
    (f"{STREAM}:1:x", ("uefi", "grub-efi", "amd64"), "no machine is booted"),
    (f"{STREAM}:1:x", ("uefi", "grub-efi-signed", "arm64"), "no machine is booted"),
    (f"{STREAM}:1:x", ("coreboot", "grub-efi", "arm64"), "no machine is booted"),
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
        ({"release": ".."}, "its release cannot be part of an address: '..'"),
        ({"release": "a/b"}, "its release cannot be part of an address: 'a/b'"),
        ({"arch": "amd 64"}, "its arch cannot"),
        ({"os": "\u0440h\u0435l"}, "its os cannot"),
        ({"subarch": "-x"}, "its subarch cannot"),
        ({"subarches": "generic,../x"}, "its subarch cannot be part of an address: '../x'"),
        ({"kflavor": "a%2fb", "subarch": "generic"}, "its kflavor cannot"),
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


# -- names of kernels (rule: resource-names)


@pytest.mark.parametrize(
    ("subarch", "flavor", "name"),
    [
        ("ga-24.04", "generic", "ga-24.04"),
        ("ga-24.04", "lowlatency", "ga-24.04-lowlatency"),
        ("hwe-16.04", "lowlatency", "hwe-16.04-lowlatency"),
        ("hwe-16.04-edge", "lowlatency", "hwe-16.04-lowlatency-edge"),
        ("hwe-16.04-edge", "generic", "hwe-16.04-edge"),
        ("hwe-16.04-lowlatency", "lowlatency", "hwe-16.04-lowlatency"),
        ("hwe-16.04-lowlatency-edge", "lowlatency", "hwe-16.04-lowlatency-edge"),
        ("hwe-x", "lowlatency", "hwe-x-lowlatency"),
        ("ga-24.04", "generic-64k", "ga-24.04-generic-64k"),
        ("ga-24.04-generic-64k", "generic-64k", "ga-24.04-generic-64k"),
        ("generic-lpae", "generic-lpae", "generic-lpae"),
        ("highbank", "highbank", "highbank"),
        ("xgene-uboot", "generic", "xgene-uboot"),
        ("generic", "generic", "generic"),
    ],
)
def test_kernel_flavour_is_part_of_the_subarch(subarch: str, flavor: str, name: str) -> None:
    found = offer(changed(NOBLE, subarch=subarch, kflavor=flavor))
    assert (found.subarch, found.kflavor) == (name, flavor)
    assert found.answers_to[0] == name


def test_flavoured_kernel_answers_to_nothing_but_its_own_name(catalogue: Mapped) -> None:
    flavoured = [o for o in catalogue.offers if o.os == "ubuntu" and o.kflavor != "generic"]
    assert len(flavoured) > 30
    for one in flavoured:
        assert one.answers_to == (one.subarch,)


SPREAD = {
    ("jammy", "amd64"): {
        "ga-22.04": "generic hwe-p hwe-q hwe-r hwe-s hwe-t hwe-u hwe-v hwe-w ga-16.04 ga-16.10 "
        "ga-17.04 ga-17.10 ga-18.04 ga-18.10 ga-19.04 ga-19.10 ga-20.04 ga-20.10 ga-21.04 ga-21.10",
        "ga-22.04-lowlatency": "",
        "hwe-22.04": "",
        "hwe-22.04-edge": "hwe-18.10 hwe-19.04 hwe-19.10 hwe-20.04",
        "hwe-22.04-lowlatency": "",
        "hwe-22.04-lowlatency-edge": "",
    },
    ("xenial", "arm64"): {
        "ga-16.04": "generic hwe-p hwe-q hwe-r hwe-s hwe-t hwe-u hwe-v hwe-w",
        "hwe-16.04": "",
        "hwe-16.04-edge": "hwe-16.10 hwe-17.04 hwe-17.10 hwe-18.04",
        "xgene-uboot": "",
        "xgene-uboot-mustang": "",
    },
    ("trusty", "amd64"): {
        "hwe-t": "generic hwe-p hwe-q hwe-r hwe-s",
        "hwe-u": "",
        "hwe-v": "",
        "hwe-w": "",
        "hwe-x": "",
        "hwe-x-lowlatency": "",
    },
    ("trusty", "armhf"): {
        "generic-lpae": "",
        "hwe-t": "generic highbank hwe-p hwe-q hwe-r hwe-s",
        "hwe-u": "",
        "hwe-v": "",
        "hwe-w": "",
        "hwe-x": "",
    },
    ("precise", "amd64"): {"hwe-p": "generic", "hwe-q": "", "hwe-r": "", "hwe-s": "", "hwe-t": ""},
    ("precise", "armhf"): {"highbank": ""},
}


@pytest.mark.parametrize(("release", "arch"), SPREAD)
def test_spread_of_subarches(release: str, arch: str) -> None:
    expected = {own: (own, *names.split()) for own, names in SPREAD[release, arch].items()}
    assert answers(shapes.ubuntu_products(release, arch)) == expected


def without(products: Tree, *names: str) -> Tree:
    return {k: v for k, v in products.items() if not k.endswith(tuple(f":{n}" for n in names))}


def test_claims_fall_to_the_next_product_when_the_first_is_not_mirrored() -> None:
    jammy = shapes.ubuntu_products("jammy", "amd64")
    found = answers(without(jammy, "ga-22.04"))
    assert found["hwe-22.04"][:3] == ("hwe-22.04", "generic", "hwe-p")
    assert "ga-20.04" in found["hwe-22.04"]
    assert found["ga-22.04-lowlatency"] == ("ga-22.04-lowlatency",)


def test_own_subarch_beats_the_claim_of_another_product() -> None:
    ga, board = NOBLE, changed(NOBLE, subarch="hwe-p", subarches="hwe-p,generic,hwe-q")
    found = answers({**ga, f"{STREAM}:v3:boot:24.04:amd64:a-board": next(iter(board.values()))})
    assert found["hwe-p"] == ("hwe-p", "hwe-q")
    assert found["ga-24.04"][1] == "generic"
    assert "hwe-p" not in found["ga-24.04"]


def test_a_product_called_generic_is_generic() -> None:
    own = changed(NOBLE, subarch="generic")
    found = answers({**NOBLE, f"{STREAM}:v3:boot:24.04:amd64:z": next(iter(own.values()))})
    assert found["generic"] == ("generic",)
    assert "generic" not in found["ga-24.04"]


def test_releases_arches_and_labels_do_not_share_names() -> None:
    parts = [{"arch": "arm64"}, {"release": "jammy"}, {"label": "candidate"}, {"os": "debian"}]
    others = {
        f"{STREAM}:v3:{number}": next(iter(changed(NOBLE, **part).values()))
        for number, part in enumerate(parts)
    }
    found = mapped({**NOBLE, **others}).offers
    assert len(found) == 5
    assert all("hwe-p" in one.answers_to for one in found)


@pytest.mark.parametrize(
    ("subarch", "flavor", "alias"),
    [
        ("hwe-24.04", "generic", "hwe-rolling"),
        ("hwe-24.04-edge", "generic", "hwe-rolling-edge"),
        ("hwe-24.04", "lowlatency", "hwe-rolling-lowlatency"),
        ("hwe-24.04-edge", "lowlatency", "hwe-rolling-lowlatency-edge"),
        ("ga-24.04", "generic", None),
    ],
)
@pytest.mark.parametrize("rolling", [True, "True", "true"])
def test_rolling_kernel_has_its_alias(
    subarch: str, flavor: str, alias: str | None, rolling: Any
) -> None:
    changes = {"subarch": subarch, "kflavor": flavor, "rolling": rolling, "subarches": "hwe-24.04"}
    found = offer(changed(NOBLE, **changes))
    assert found.is_rolling
    assert {n for n in found.answers_to if "rolling" in n} == ({alias} if alias else set())


# -- doubles


def test_of_two_formats_of_one_image_the_newer_is_offered() -> None:
    old = f"{STREAM}:v2:boot:24.04:amd64:ga-24.04"
    (new,) = NOBLE
    result = mapped({old: NOBLE[new], **NOBLE})
    assert [one.product for one in result.offers] == [new]
    assert result.skipped == (
        Skipped(old, f"{new} is the same image: ubuntu/noble/amd64/ga-24.04/stable"),
    )


def test_of_two_equal_products_the_first_by_name_is_offered() -> None:
    (tree,) = shapes.esxi().values()
    result = mapped({"b": tree, "a": tree})
    assert [one.product for one in result.offers] == ["a"]
    assert [one.product for one in result.skipped] == ["b"]


# -- versions and items


def versions(*serials: str) -> Tree:
    (product,) = NOBLE
    return {product: shapes.ubuntu(GA_NOBLE, serials)}


@pytest.mark.parametrize(
    ("serials", "newest"),
    [
        (("20240821.9", "20240821.10"), "20240821.10"),
        (("20240821", "20240821.1", "20240820.9"), "20240821.1"),
        (("20240604_01", "20240622_01"), "20240622_01"),
        (("20240622_10", "20240622_9"), "20240622_10"),
    ],
)
def test_newest_version_is_offered(serials: tuple[str, ...], newest: str) -> None:
    found = offer(versions(*serials))
    assert found.version == newest
    assert all(f"/{newest}/" in one.path for one in found.items)


def test_version_with_nothing_to_store_is_passed_over_and_said_so() -> None:
    products = versions("20250710", "20250717", "20250724")
    (product,) = products.values()
    product["versions"]["20250717"]["items"] = {"manifest": item("manifest", "m")}
    product["versions"]["20250724"]["items"] = {}
    (name,) = products
    result = mapped(products)
    assert [one.version for one in result.offers] == ["20250710"]
    assert result.skipped == (
        Skipped(name, "it has no files", "20250724"),
        Skipped(name, "files of type manifest are not stored", "20250717"),
    )


def test_product_with_nothing_to_store_is_skipped_once() -> None:
    result = mapped(with_items(NOBLE, {"a": item("manifest", "a"), "b": item("vmlinux", "b")}))
    assert not result.offers
    assert [one.reason for one in result.skipped] == [
        "no version of it can be stored; the newest: "
        "files of type manifest are not stored; files of type vmlinux are not stored"
    ]


STORED = [
    "boot-kernel boot-initrd boot-dtb squashfs",
    "root-image.gz",
    "root-tgz",
    "root-tbz",
    "root-txz",
    "root-dd",
    "root-dd.tar",
    "root-dd.raw",
    "root-dd.bz2",
    "root-dd.gz",
    "root-dd.xz",
    "root-dd.tar.bz2",
    "root-dd.tar.xz",
]


@pytest.mark.parametrize("ftypes", STORED)
def test_known_file_types_are_stored_and_others_left_out(ftypes: str) -> None:
    items = {ftype: item(ftype, f"x/{ftype}.some-suffix") for ftype in ftypes.split()}
    others = {ftype: item(ftype, f"x/{ftype}") for ftype in ("manifest", "notes", "root-dd.zip")}
    found = offer(with_items(NOBLE, {**items, **others}))
    assert {one.ftype for one in found.items} == set(ftypes.split())
    assert [one.filename for one in found.items] == sorted(ftypes.split())


@pytest.mark.parametrize(
    ("ftypes", "stored"),
    [
        ("squashfs root-image.gz", {"squashfs"}),
        ("root-image.gz", {"root-image.gz"}),
        ("root-image.gz boot-kernel", {"root-image.gz", "boot-kernel"}),
    ],
)
def test_squashfs_is_preferred_to_root_image(ftypes: str, stored: set[str]) -> None:
    found = offer(with_items(NOBLE, {ftype: item(ftype, ftype) for ftype in ftypes.split()}))
    assert {one.ftype for one in found.items} == stored


@pytest.mark.parametrize("needed", ["2.2", "2.9.3", "2.10", "3.0.0~alpha1", "9" * 500, "next"])
def test_a_newer_maas_is_no_reason_to_leave_out_files_of_a_known_type(needed: str) -> None:
    result = mapped(changed(NOBLE, maas_supported=needed))
    assert [one.version for one in result.offers] == ["20250717"]


# -- names of files


@pytest.mark.parametrize(
    ("name", "files"),
    [
        (
            "xgene-uboot",
            {"boot-kernel": "boot-kernel.xgene", "boot-initrd": "boot-initrd.xgene"},
        ),
        (
            "xgene-uboot-mustang",
            {
                "boot-kernel": "boot-kernel.xgene-mustang",
                "boot-initrd": "boot-initrd.xgene-mustang",
                "boot-dtb": "boot-dtb.xgene-mustang",
            },
        ),
    ],
)
def test_boards_serve_their_kernels_under_the_names_boot_configs_use(
    name: str, files: dict[str, str]
) -> None:
    one = kernel("jammy", "arm64", name)
    found = offer({shapes.ubuntu_name(one): shapes.ubuntu(one)})
    got = {f.filename: f.path.rsplit("/", 1)[1] for f in found.items}
    assert got == {**files, "squashfs": "squashfs"}


def test_loader_files_keep_the_names_in_their_paths() -> None:
    (loader,) = (v for k, v in shapes.loaders().items() if "pxelinux:pxe:i386" in k)
    names = ("pxelinux.0", "ldlinux.c32")
    items = {f"i{n}": item("bootloader", f"b/pxe/{name}") for n, name in enumerate(names)}
    loader["versions"] = {"1": {"items": items}}
    found = offer({f"{STREAM}:1:pxelinux:pxe:i386": loader})
    assert [one.filename for one in found.items] == ["ldlinux.c32", "pxelinux.0"]


def test_files_of_one_type_keep_the_names_in_their_paths() -> None:
    items = {"a": item("root-dd.gz", "x/one.gz"), "b": item("root-dd.gz", "x/two.gz")}
    items["c"] = item("squashfs", "x/fs.squash")
    found = offer(with_items(NOBLE, items))
    assert {one.filename: one.path for one in found.items} == {
        "one.gz": "x/one.gz",
        "two.gz": "x/two.gz",
        "squashfs": "x/fs.squash",
    }


@pytest.mark.parametrize(
    ("paths", "reason"),
    [
        (("a/one.tar.xz", "b/one.tar.xz"), "would be served under one name"),
        (("a/one.tar.xz", "a/-x.tar.xz"), "its file cannot be part of an address: '-x.tar.xz'"),
        (("a/one.tar.xz", "a/o ne.tar.xz"), "its file cannot be part of an address: 'o ne.tar.xz'"),
    ],
)
def test_version_whose_files_cannot_all_be_served_is_not_offered(
    paths: tuple[str, ...], reason: str
) -> None:
    items = {path: item("archive.tar.xz", path) for path in paths}
    result = mapped(with_items(NOBLE, items))
    assert not result.offers
    assert reason in result.skipped[0].reason


def test_one_file_named_twice_is_one_file() -> None:
    items = {"a": item("squashfs", "x/squashfs"), "b": item("squashfs", "x/squashfs")}
    found = offer(with_items(NOBLE, items))
    assert [one.filename for one in found.items] == ["squashfs"]


def test_size_counts_each_content_once() -> None:
    kernel_file = item("boot-kernel", "x/boot-kernel")
    items = {"k": kernel_file, "i": {**kernel_file, "ftype": "boot-initrd", "path": "x/i"}}
    items["s"] = item("squashfs", "x/squashfs")
    found = offer(with_items(NOBLE, items))
    assert found.size == kernel_file["size"] + items["s"]["size"]
    assert len(found.items) == 3


# -- titles and notices


@pytest.mark.parametrize(
    ("fields", "title"),
    [
        ({"os": "x", "os_title": "X OS", "release_title": "One"}, "X OS One"),
        ({"os": "x", "os_title": "X OS", "release_title": "1", "gadget_title": "G"}, "X OS 1 G"),
        ({"os": "x", "os_title": "X OS", "release_title": None}, "x noble"),
        ({"os": "x", "release_title": "One"}, "x One"),
        ({"os": "centos", "release_title": "CentOS Nine"}, "CentOS Nine"),
    ],
)
def test_title_is_the_streams_where_it_gives_both_parts(fields: Tree, title: str) -> None:
    assert offer(changed(NOBLE, **fields)).title == title


def test_only_the_newest_notice_counts() -> None:
    products = shapes.notification()
    (product,) = products.values()
    newer = copy.deepcopy(product["versions"]["20201204.0"])
    (one,) = newer["items"].values()
    one["path"], one["release_notification"]["maas_version"] = "n", "3.0.0"
    product["versions"]["20210501.0"] = newer
    result = mapped(products)
    assert [notice.maas_version for notice in result.notifications] == ["3.0.0"]
    assert not result.offers
    assert not result.skipped


def test_notice_without_a_message_is_skipped_with_the_reason() -> None:
    products = shapes.notification()
    (product,) = products.values()
    del product["versions"]["20201204.0"]["items"]["release_notification"]["release_notification"]
    result = mapped(products)
    assert not result.notifications
    assert [one.reason for one in result.skipped] == ["it is a notice that says nothing"]


def test_no_documents_offer_nothing() -> None:
    assert map_products([]) == Mapped((), ())


# -- whatever a stream claims

NAMES = st.sampled_from(["generic", "ga-24.04", "hwe-24.04", "hwe-24.04-edge", "hwe-n", "hwe-p"])
CLAIMS = st.fixed_dictionaries(
    {
        "os": st.sampled_from(["ubuntu", "debian"]),
        "release": st.sampled_from(["noble", "jammy"]),
        "label": st.sampled_from(["stable", "daily"]),
        "kflavor": st.sampled_from(["generic", "generic", "lowlatency"]),
        "subarch": NAMES,
        "subarches": st.lists(NAMES, max_size=5).map(",".join),
        "rolling": st.booleans(),
    }
)


@given(st.lists(CLAIMS, max_size=8), st.randoms())
@settings(deadline=None)
def test_no_name_is_served_twice_and_none_is_lost(claims: list[Tree], random: Any) -> None:
    products = {
        f"{STREAM}:v{number % 2 + 2}:{number}": next(iter(changed(NOBLE, **fields).values()))
        for number, fields in enumerate(claims)
    }
    result = mapped(products)
    served = by_answer(result.offers)
    assert {one.product for one in result.offers} | {s.product for s in result.skipped} == set(
        products
    )
    claimed = defaultdict(set)
    for one in result.offers:
        where = (one.os, one.release, one.arch, one.label)
        assert served[*where, one.subarch] is one
        claimed[where] |= set(one.subarches) if one.kflavor == "generic" else set()
    for where, names in claimed.items():
        assert all((*where, name) in served for name in names)
    shuffled = list(products)
    random.shuffle(shuffled)
    assert mapped({name: products[name] for name in shuffled}) == result
