# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.streams import shapes
from webapp.errors import Problem
from webapp.streams.filters import (
    MAX_PATTERN,
    MAX_SUGGESTED,
    Filter,
    Wanted,
    check_selection,
    file_fields,
    is_wanted,
    parse_filter,
    passes,
    why,
)
from webapp.streams.mapping import map_products
from webapp.streams.offers import Offer

OFFERS = map_products(shapes.parsed_catalogue()).offers
BY_NAME = {one.product.rsplit("com.ubuntu.maas.stable:")[-1]: one for one in OFFERS}
GA = BY_NAME["v3:boot:24.04:amd64:ga-24.04"]
LOWLATENCY = BY_NAME["v3:boot:24.04:amd64:ga-24.04-lowlatency"]
EDGE = BY_NAME["v3:boot:24.04:amd64:hwe-24.04-edge"]
ARM = BY_NAME["v3:boot:24.04:arm64:ga-24.04"]
GRUB = BY_NAME["1:grub-efi-signed:uefi:amd64"]
CENTOS = BY_NAME["centos-bases:7.0:amd64"]


def noble(**lists: Any) -> Wanted:
    return Wanted("ubuntu", "noble", **lists)


# -- selections (rule: selection-filters)

TABLE: list[tuple[Offer, Wanted, bool]] = [
    (GA, noble(), True),
    (GA, Wanted("ubuntu", "jammy"), False),
    (GA, Wanted("debian", "noble"), False),
    (GA, Wanted("*", "noble"), True),
    (GA, Wanted("ubuntu", "*"), True),
    (GA, Wanted("", "noble"), True),
    (GA, Wanted("", "jammy"), False),
    (GA, noble(arches=("amd64",)), True),
    (GA, noble(arches=("arm64", "amd64")), True),
    (GA, noble(arches=("arm64",)), False),
    (ARM, noble(arches=("arm64",)), True),
    (GA, noble(arches=("amd",)), False),
    (GA, noble(arches=()), False),
    (GA, noble(arches=("*",)), True),
    (GA, noble(arches=("arm64", "*")), True),
    (GA, noble(subarches=()), False),
    (GA, noble(subarches=("generic",)), True),
    (GA, noble(subarches=("ga-24.04",)), True),
    (GA, noble(subarches=("hwe-p",)), True),
    (GA, noble(subarches=("hwe-24.04",)), False),
    (LOWLATENCY, noble(), True),
    (LOWLATENCY, noble(subarches=("generic",)), False),
    (LOWLATENCY, noble(subarches=("ga-24.04",)), False),
    (LOWLATENCY, noble(subarches=("ga-24.04-lowlatency",)), True),
    (EDGE, noble(subarches=("generic",)), False),
    (EDGE, noble(subarches=("hwe-24.04-edge",)), True),
    (GA, noble(labels=()), False),
    (GA, noble(labels=("stable",)), True),
    (GA, noble(labels=("daily",)), False),
    (CENTOS, Wanted("centos", "centos70", ("amd64",), ("generic",), ("stable",)), True),
]


@pytest.mark.parametrize(("offer", "wanted", "expected"), TABLE)
def test_selection_asks_for_an_offer(offer: Offer, wanted: Wanted, expected: bool) -> None:
    assert passes(offer, [wanted]) is expected
    assert is_wanted(offer, [wanted]) is expected
    assert why(offer, [wanted]).is_wanted is expected
    other = Wanted("none", "none")
    assert passes(offer, [other, wanted, other]) is expected


def test_no_filters_pass_everything_but_no_selections_want_nothing() -> None:
    assert all(passes(one, []) for one in OFFERS)
    assert {one.os for one in OFFERS if is_wanted(one, [])} == {
        "grub-efi",
        "grub-efi-signed",
        "grub-ieee1275",
        "pxelinux",
    }


def test_boot_loaders_come_along_whatever_is_selected() -> None:
    assert is_wanted(GRUB, [noble(arches=("arm64",))])
    assert not passes(GRUB, [noble()])


def test_selection_of_generic_gets_one_kernel_for_each_arch() -> None:
    chosen = [one for one in OFFERS if passes(one, [noble(subarches=("generic",))])]
    assert sorted((one.arch, one.subarch) for one in chosen) == [
        (arch, "ga-24.04") for arch in ("amd64", "arm64", "armhf", "ppc64el", "riscv64", "s390x")
    ]


@pytest.mark.parametrize(
    ("offer", "wanted", "reason"),
    [
        (GA, [noble()], "the selection ubuntu/noble asks for it"),
        (GA, [Wanted("", "noble")], "the selection */noble asks for it"),
        (GRUB, [], "boot loaders are included from every source"),
        (GA, [], "no selection asks for ubuntu/noble"),
        (GA, [Wanted("ubuntu", "jammy")], "no selection asks for ubuntu/noble"),
        (
            GA,
            [noble(arches=("arm64", "s390x"))],
            "the selection ubuntu/noble leaves it out: its arches are arm64, s390x, this is amd64",
        ),
        (
            LOWLATENCY,
            [Wanted("ubuntu", "jammy"), noble(subarches=("generic",))],
            "the selection ubuntu/noble leaves it out: "
            "its subarches are generic, this is ga-24.04-lowlatency",
        ),
        (
            GA,
            [noble(labels=()), noble(arches=())],
            "the selection ubuntu/noble leaves it out: its labels are empty, which matches nothing"
            "; the selection ubuntu/noble leaves it out: "
            "its arches are empty, which matches nothing",
        ),
    ],
)
def test_reason_names_the_rule(offer: Offer, wanted: list[Wanted], reason: str) -> None:
    assert why(offer, wanted).reason == reason


# -- checking a selection (rule: selections-are-checked)


@pytest.mark.parametrize(
    "wanted",
    [
        noble(),
        noble(arches=("amd64",), subarches=("*",), labels=("*",)),
        noble(arches=("amd64", "arm64"), subarches=("generic", "hwe-24.04"), labels=("stable",)),
        noble(subarches=("ga-24.04-lowlatency",)),
        Wanted("", "noble"),
        Wanted("centos", "centos70"),
        Wanted("ubuntu-core", "18-pc"),
        Wanted("esxi", "6.7"),
    ],
)
def test_selection_of_what_is_offered_is_accepted(wanted: Wanted) -> None:
    assert check_selection(wanted, OFFERS) == {}


@pytest.mark.parametrize(
    ("wanted", "key", "text"),
    [
        (Wanted("ubunut", "noble"), "os", '"ubunut/noble". Did you mean ubuntu?'),
        (Wanted("ubuntu", "nobel"), "os", '"ubuntu/nobel". Did you mean noble?'),
        (Wanted("", "nobel"), "os", '"nobel". Did you mean noble?'),
        (Wanted("centos", "noble"), "os", '"centos/noble".'),
        (Wanted("*", "noble"), "os", '"*/noble".'),
        (Wanted("ubuntu", "*"), "os", '"ubuntu/*".'),
        (Wanted("ubuntu", ""), "os", '"ubuntu/".'),
        (Wanted("pxelinux", "pxe"), "os", "are included from every source"),
        (
            noble(arches=("amd46",)),
            "arches",
            'for ubuntu/noble: "amd46". Did you mean amd64 or arm64?',
        ),
        (noble(arches=("i386",)), "arches", 'for ubuntu/noble: "i386".'),
        (noble(arches=("*", "i386")), "arches", 'for ubuntu/noble: "i386".'),
        (noble(arches=()), "arches", 'empty list matches nothing: name some, or "*" for all.'),
        (noble(subarches=("hwe-24.4",)), "subarches", "Did you mean hwe-24.04"),
        (noble(subarches=()), "subarches", "empty list matches nothing"),
        (noble(labels=("stabel",)), "labels", "Did you mean stable?"),
        (noble(labels=()), "labels", "empty list matches nothing"),
        (
            noble(arches=("s390x",), subarches=("ga-24.04-lowlatency",)),
            "subarches",
            "No image of ubuntu/noble has one of these arches, subarches and labels at once.",
        ),
    ],
)
def test_selection_of_anything_else_has_an_error_under_its_key(
    wanted: Wanted, key: str, text: str
) -> None:
    errors = check_selection(wanted, OFFERS)
    assert list(errors) == [key]
    (message,) = errors[key]
    assert text in message


def test_every_wrong_value_is_named_and_each_list_checked() -> None:
    wanted = noble(arches=("a", "b", "amd64", "a"), subarches=("x",), labels=())
    errors = check_selection(wanted, OFFERS)
    assert {key: len(found) for key, found in errors.items()} == {
        "arches": 2,
        "subarches": 1,
        "labels": 1,
    }


def test_guesses_are_few_and_long_values_cut() -> None:
    many = tuple(f"amd6{number}" for number in range(5, 5 + MAX_SUGGESTED + 3))
    errors = check_selection(noble(arches=(*many, "x" * 9999)), OFFERS)["arches"]
    assert sum("Did you mean" in error for error in errors) <= MAX_SUGGESTED
    assert len(errors) == len(many) + 1
    assert all(len(error) < 250 for error in errors)


def test_nothing_can_be_selected_from_nothing() -> None:
    assert list(check_selection(noble(), [])) == ["os"]


ANYTHING = st.sampled_from(["*", "ubuntu", "noble", "amd64", "generic", "stable", "x", ""])
LISTS = st.lists(ANYTHING, max_size=3).map(tuple)


@given(st.builds(Wanted, ANYTHING, ANYTHING, LISTS, LISTS, LISTS))
def test_accepted_selection_imports_something(wanted: Wanted) -> None:
    if not check_selection(wanted, OFFERS):
        assert any(passes(one, [wanted]) for one in OFFERS)


@given(st.builds(Wanted, ANYTHING, ANYTHING, LISTS, LISTS, LISTS), st.sampled_from(OFFERS))
def test_reason_agrees_with_the_verdict(wanted: Wanted, offer: Offer) -> None:
    verdict = why(offer, [wanted])
    assert verdict.is_wanted == is_wanted(offer, [wanted])
    assert (
        "asks for it" in verdict.reason or "included from" in verdict.reason
    ) == verdict.is_wanted


# -- filters of a mirror

FIELDS = {"os": "grub-efi-signed", "arch": "amd64", "release": "", "bootloader-type": "uefi"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("arch=amd64", True),
        ("arch=amd", False),
        ("arch = amd64 ", True),
        ("arch!=amd64", False),
        ("arch!=arm64", True),
        ("os~grub", True),
        ("os~efi", True),
        ("os~^efi", False),
        ("os~(grub*|pxelinux)", True),
        ("os ~ ^(grub.*|pxelinux)$", True),
        ("os!~grub", False),
        ("os!~ubuntu", True),
        ("bootloader-type=uefi", True),
        ("missing=", True),
        ("missing=x", False),
        ("missing!=x", True),
        ("missing~x", False),
        ("missing!~x", True),
        ("release=", True),
        ("os=a=b", False),
    ],
)
def test_filter_matches_fields(text: str, expected: bool) -> None:
    assert parse_filter(text).matches(FIELDS) is expected


@pytest.mark.parametrize(
    ("text", "key", "operator", "value"),
    [
        ("os=ubuntu", "os", "=", "ubuntu"),
        ("release~(focal|noble)", "release", "~", "(focal|noble)"),
        ("arch!=i386", "arch", "!=", "i386"),
        (" os !~ a = b ", "os", "!~", "a = b"),
        ("os=~x", "os", "=", "~x"),
    ],
)
def test_filter_is_read_and_written(text: str, key: str, operator: str, value: str) -> None:
    parsed = parse_filter(text)
    assert (parsed.key, parsed.operator, parsed.value) == (key, operator, value)
    assert parse_filter(str(parsed)) == parsed
    assert isinstance(parsed, Filter)


@pytest.mark.parametrize(
    ("text", "flaw"),
    [
        ("", "no key and operator"),
        ("os", "no key and operator"),
        ("=ubuntu", "no key and operator"),
        ("!~x", "no key and operator"),
        ("a b=c", "no key and operator"),
        ("os>3", "no key and operator"),
        ("os~(", "can't be read"),
        ("os~*", "can't be read"),
        ("os~a{99999999999}", "can't be read"),
        ("os~" + "a" * (MAX_PATTERN + 1), "longer than"),
    ],
)
def test_bad_filter_is_refused_with_its_flaw(text: str, flaw: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_filter(text)
    assert caught.value.code == "filter-invalid"
    assert flaw in caught.value.what


def test_documented_recipe_keeps_two_releases_and_the_loaders() -> None:
    kept = set()
    for document in shapes.parsed_catalogue():
        for product in document.products:
            for version in product.versions[:1]:
                for one in version.items:
                    fields = file_fields(document, product, version, one)
                    for recipe in (
                        ("arch=amd64", "release~(bionic|focal)", "ftype!=manifest"),
                        ("os~(grub*|pxelinux)",),
                    ):
                        if all(parse_filter(text).matches(fields) for text in recipe):
                            kept.add((fields["os"], fields.get("release", ""), fields["ftype"]))
    kernels = {("ubuntu", r, f) for r in ("bionic", "focal") for f in KERNEL_FILES}
    loaders = {(one, "", "archive.tar.xz") for one in LOADERS}
    assert kept == kernels | loaders


KERNEL_FILES = ("boot-kernel", "boot-initrd", "squashfs")
LOADERS = ("grub-efi", "grub-efi-signed", "grub-ieee1275", "pxelinux")


def test_names_of_the_pedigree_can_be_filtered() -> None:
    document = shapes.parse(shapes.esxi())
    product = document.products[0]
    version = product.versions[0]
    fields = file_fields(document, product, version, version.items[0])
    assert all(
        parse_filter(text).matches(fields)
        for text in (
            "content_id=com.ubuntu.maas:stable:v3:download",
            "product_name=com.example.lab:esxi:6.7:amd64",
            "version_name=20240101",
            "item_name=root-dd.gz",
            "datatype=image-ids",
            "os=esxi",
        )
    )
