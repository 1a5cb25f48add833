# SPDX-License-Identifier: Apache-2.0
"""Names of kernels, and two products that claim the same one."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.streams import shapes
from tests.unit.streams.mapping.products import NOBLE, STREAM, by_answer
from tests.unit.streams.shapes import Tree, changed, mapped, offer
from webapp.streams.offers import Mapped, Skipped


def answers(products: Tree) -> dict[str, tuple[str, ...]]:
    return {one.subarch: one.answers_to for one in mapped(products).offers}


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
