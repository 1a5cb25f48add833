# SPDX-License-Identifier: Apache-2.0
"""Which images rules select, and what they keep. (rule: gone-upstream-stays)"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.errors import InvalidFields
from webapp.services.sources import ruling
from webapp.services.sources.ruling import Kind, Match, Product, Rule, State, World, evaluate

TODAY = date(2026, 11, 29)
RELEASES = {
    "resolute": ("26.04 LTS", date(2031, 5, 29)),
    "questing": ("25.10", date(2026, 7, 9)),
    "noble": ("24.04 LTS", date(2029, 5, 31)),
    "jammy": ("22.04 LTS", date(2027, 6, 1)),
    "focal": ("20.04 LTS", date(2025, 5, 29)),
}


def product(release: str, arch: str = "amd64", kernel: str = "ga", **values: Any) -> Product:
    title, end = RELEASES[release]
    version = title.split()[0]
    subarch = f"{kernel}-{version}"
    answers = ["generic", subarch] if kernel == "ga" else [subarch]
    made = Product(1, "ubuntu", release, arch, subarch, answers, title, version, end)
    return replace(made, **values)


def centos(release: str, version: str) -> Product:
    return Product(1, "centos", release, "amd64", "generic", ["generic"], release, version)


UBUNTU = [product(release) for release in RELEASES]
CENTOS = [centos("centos66", "6.6"), centos("centos70", "7.0"), centos("centos8", "8")]


def world(*products: Product, stored: Collection[ruling.Image] = (), **values: Any) -> World:
    made = World(products or (*UBUNTU, *CENTOS), set(stored), {1, 2}, TODAY)
    return replace(made, **values)


def names(matches: list[Match]) -> set[str]:
    return {match.release for match in matches if match.state == State.SELECTED}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Rule(Kind.NEWEST_LTS, count=2), {"resolute", "noble"}),
        (Rule(Kind.NEWEST_LTS, count=9), {"resolute", "noble", "jammy", "focal"}),
        (Rule(Kind.SUPPORTED_LTS), {"resolute", "noble", "jammy"}),
        (Rule(Kind.NEWEST, "ubuntu", 2), {"resolute", "questing"}),
        (Rule(Kind.NEWEST, "centos", 1), {"centos8"}),
        (Rule(Kind.EVERY, "centos"), {"centos66", "centos70", "centos8"}),
        (Rule(Kind.PATTERN, pattern="(ubuntu/jam.*|centos/.*70)"), {"jammy", "centos70"}),
        (Rule(Kind.PATTERN, pattern="jammy"), set()),  # the whole name counts
        (Rule(Kind.EVERY, "ubuntu", arches=("arm64",)), set()),
        (Rule(Kind.EVERY, "ubuntu", source_id=2), set()),
    ],
)
def test_a_rule_selects_by_its_kind(rule: Rule, expected: set[str]) -> None:
    assert names(evaluate(rule, world())) == expected


def test_an_lts_is_supported_to_the_last_day_and_as_long_as_no_end_is_stated() -> None:
    rule, jammy = Rule(Kind.SUPPORTED_LTS), product("jammy")
    assert names(evaluate(rule, world(jammy, today=date(2027, 6, 1)))) == {"jammy"}
    assert names(evaluate(rule, world(jammy, today=date(2027, 6, 2)))) == set()
    assert names(evaluate(rule, world(replace(jammy, support_eol=None)))) == {"jammy"}


def test_the_newest_are_counted_among_what_the_architectures_have() -> None:
    products = (product("resolute"), product("noble", "arm64"), product("jammy", "arm64"))
    rule = Rule(Kind.NEWEST_LTS, count=1, arches=("arm64",))
    assert names(evaluate(rule, world(*products))) == {"noble"}


def test_every_source_that_offers_it_is_selected() -> None:
    products = (product("noble", source_id=2), product("noble"))
    found = evaluate(Rule(Kind.EVERY, "ubuntu"), world(*products))
    assert [match.source_id for match in found] == [1, 2]


KERNELS = (product("noble"), product("noble", kernel="hwe"), product("jammy"), *CENTOS)


@pytest.mark.parametrize(
    ("kernels", "expected"),
    [
        (("ga",), {"noble": ("ga-24.04",), "jammy": ("ga-22.04",)}),
        (("generic",), {"noble": ("ga-24.04",), "jammy": ("ga-22.04",)}),
        (("hwe",), {"noble": ("hwe-24.04",)}),
        (("ga", "hwe"), {"noble": ("ga-24.04", "hwe-24.04"), "jammy": ("ga-22.04",)}),
        (("ga-22.04",), {"jammy": ("ga-22.04",)}),
        (("*",), {"noble": ("*",), "jammy": ("*",)}),
    ],
)
def test_kernels_are_named_by_family(
    kernels: tuple[str, ...], expected: dict[str, tuple[str, ...]]
) -> None:
    found = evaluate(Rule(Kind.EVERY, "ubuntu", kernels=kernels), world(*KERNELS))
    assert {match.release: match.kernels for match in found} == expected


def test_a_system_without_several_kernels_has_the_one_it_has() -> None:
    found = evaluate(Rule(Kind.EVERY, "centos", kernels=("ga",)), world(*KERNELS))
    assert {match.kernels for match in found} == {("*",)}


# -- what it selected before

NOBLE, JAMMY = ("ubuntu", "noble", "amd64"), ("ubuntu", "jammy", "amd64")
ONE = Rule(Kind.NEWEST_LTS, count=1)


def test_what_a_newer_release_displaces_is_dropped_while_it_is_stored() -> None:
    before = evaluate(ONE, world(product("jammy")))
    newer = (product("noble"), product("jammy"))
    after = evaluate(ONE, world(*newer, stored=[JAMMY]), before)
    assert {(m.release, m.state) for m in after} == {
        ("noble", State.SELECTED),
        ("jammy", State.DROPPED),
    }
    assert names(evaluate(ONE, world(*newer), after)) == {"noble"}
    assert len(evaluate(ONE, world(*newer), after)) == 1  # it's no longer stored


def test_what_no_source_offers_stays_while_it_is_stored() -> None:
    before = evaluate(ONE, world(product("noble")))
    after = evaluate(ONE, world(product("jammy"), stored=[NOBLE]), before)
    assert {(m.release, m.state) for m in after} == {
        ("jammy", State.SELECTED),
        ("noble", State.GONE),
    }
    assert names(evaluate(ONE, world(product("jammy")), before)) == {"jammy"}
    gone_source = world(product("jammy"), stored=[NOBLE], source_ids={2})
    assert len(evaluate(ONE, gone_source, before)) == 1


def test_a_rule_that_a_person_changed_lets_go_at_once() -> None:
    before = evaluate(Rule(Kind.EVERY, "ubuntu"), world(*UBUNTU))
    images = [one.image for one in before]
    after = evaluate(ONE, world(*UBUNTU, stored=images), before, is_edited=True)
    assert [(m.release, m.state) for m in after] == [("resolute", State.SELECTED)]


def test_a_kernel_that_is_no_longer_offered_stays_named() -> None:
    rule = Rule(Kind.EVERY, "ubuntu", kernels=("ga", "hwe"))
    before = evaluate(rule, world(product("noble"), product("noble", kernel="hwe")))
    after = evaluate(rule, world(product("noble"), stored=[NOBLE]), before)
    assert [m.kernels for m in after] == [("ga-24.04", "hwe-24.04")]


RULES = st.builds(
    Rule,
    kind=st.sampled_from(Kind),
    os=st.sampled_from(["ubuntu", "centos"]),
    count=st.integers(1, 5),
    pattern=st.sampled_from(["ubuntu/.*", ".*", "centos/.*", "x"]),
    arches=st.sampled_from([("*",), ("amd64",), ("arm64",), ("amd64", "arm64")]),
    kernels=st.sampled_from([("*",), ("ga",), ("hwe",), ("ga", "hwe")]),
    source_id=st.sampled_from([None, 1, 2]),
)
PRODUCTS = st.lists(
    st.builds(
        product,
        st.sampled_from(sorted(RELEASES)),
        st.sampled_from(["amd64", "arm64"]),
        st.sampled_from(["ga", "hwe"]),
        source_id=st.sampled_from([1, 2]),
    )
    | st.sampled_from(CENTOS),
    max_size=12,
)


@given(RULES, PRODUCTS, PRODUCTS, st.data())
def test_an_evaluation_is_stable_and_never_forgets_what_is_stored(
    rule: Rule, first: list[Product], second: list[Product], data: st.DataObject
) -> None:
    before = evaluate(rule, world(*first, products=first))
    images = sorted({one.image for one in before})
    stored = data.draw(st.sets(st.sampled_from(images)) if images else st.just(set()))
    now = world(products=second, stored=stored)
    after = evaluate(rule, now, before)
    assert evaluate(rule, now, after) == after
    assert len({match.key for match in after}) == len(after)
    lines = {(p.source_id, *p.image) for p in second}
    for match in after:
        assert (match.key in lines) or match.state != State.SELECTED
        assert match.state == State.SELECTED or match.image in stored
        assert match.kernels
    kept = {match.image for match in after}
    assert {one.image for one in before if one.image in stored} <= kept
    dropped = {match.key for match in after if match.state == State.DROPPED}
    assert dropped <= lines
    assert [Match.from_dict(match.as_dict()) for match in after] == after


@given(RULES, PRODUCTS)
def test_what_a_rule_selects_is_offered_to_it(rule: Rule, products: list[Product]) -> None:
    ruling.check(rule)
    for match in evaluate(rule, world(products=products)):
        assert match.state == State.SELECTED
        assert rule.source_id in (None, match.source_id)
        assert "*" in rule.arches or match.arch in rule.arches
        assert match.why


# -- expressions


def test_an_expression_for_which_backtracking_would_take_years_is_evaluated() -> None:
    rule = Rule(Kind.PATTERN, pattern="ubuntu/((a|a)*)*(a|aa)+b")
    hostile = replace(product("noble"), release="a" * 60)
    assert evaluate(rule, world(hostile)) == []


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        (Rule(Kind.PATTERN, pattern="(a"), "pattern"),
        (Rule(Kind.PATTERN, pattern=""), "pattern"),
        (Rule(Kind.PATTERN, pattern="a" * 201), "pattern"),
        (Rule(Kind.PATTERN, pattern="((a{1000}){1000}){1000}"), "pattern"),
        (Rule(Kind.NEWEST_LTS, count=0), "count"),
        (Rule(Kind.NEWEST, "ubuntu", 51), "count"),
        (Rule(Kind.EVERY), "os"),
        (Rule(Kind.SUPPORTED_LTS, arches=()), "arches"),
        (Rule(Kind.SUPPORTED_LTS, kernels=("x" * 65,)), "kernels"),
    ],
)
def test_a_rule_that_cannot_be_evaluated_is_refused_by_field(rule: Rule, field: str) -> None:
    with pytest.raises(InvalidFields) as caught:
        ruling.check(rule)
    assert list(caught.value.fields) == [field]


@pytest.mark.parametrize(
    ("rule", "title"),
    [
        (Rule(Kind.NEWEST_LTS, count=2), "Newest 2 Ubuntu LTS"),
        (Rule(Kind.NEWEST_LTS, count=1, arches=("amd64",)), "Newest Ubuntu LTS, amd64"),
        (Rule(Kind.EVERY, "centos", kernels=("ga", "hwe")), "Every release of CentOS, ga hwe"),
        (Rule(Kind.PATTERN, pattern="ubuntu/.*"), "Names like ubuntu/.*"),
    ],
)
def test_a_rule_has_a_title(rule: Rule, title: str) -> None:
    assert rule.title == title
