# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.services.sources.test_catalogue import arranged, row
from webapp.errors import InvalidFields
from webapp.services.sources import kernels
from webapp.services.sources.changes import base_of, pending
from webapp.services.sources.picture import Box, Picture
from webapp.services.sources.rules import Effect
from webapp.services.sources.selections import Pick

NOBLE = Pick(1, "ubuntu", "noble", "amd64")
LINE = (1, "ubuntu", "noble")
ALL = ("ga-24.04", "hwe-24.04", "hwe-24.04-edge")
ROWS = (
    row(files={"ga-k": 10, "root": 90}),
    row(subarch="hwe-24.04", answers_to=["hwe-24.04"], files={"hwe-k": 11, "root": 90}),
    row(subarch="hwe-24.04-edge", answers_to=["hwe-24.04-edge"], files={"hwe-k": 11, "e": 3}),
)


def noble(*chosen: str, **values: Any) -> Picture:
    lines = {LINE: chosen} if chosen else None
    return arranged(*ROWS, selected={NOBLE}, chosen=lines, **values)


def box(picture: Picture) -> Box:
    return picture.ubuntu[0].boxes["amd64"]


def message(*args: Any) -> str:
    with pytest.raises(InvalidFields) as caught:
        kernels.check(*args)
    return caught.value.fields["kernels"][0]


def test_a_kernel_adds_what_no_other_one_has_and_shared_files_count_once() -> None:
    made = noble(ready=("root",))
    found = kernels.offers(box(made), made.ready)
    assert [(o.kernel.name, o.adds, o.new_size) for o in found] == [
        ("ga-24.04", 10, 10),
        ("hwe-24.04", 0, 11),
        ("hwe-24.04-edge", 3, 14),
    ]
    assert kernels.shared_bytes(box(made)) == 101
    assert box(made).size == 114
    assert [o.is_generic for o in found] == [True, False, False]


def test_an_image_has_the_bytes_of_its_chosen_kernels_alone() -> None:
    made = noble("hwe-24.04")
    assert (box(made).size, made.ubuntu[0].chosen_kernels) == (101, ("hwe-24.04",))
    assert made.ubuntu[0].kernels == ALL
    assert [kernel.name for kernel in box(noble("generic")).kept_kernels] == ["ga-24.04"]


def test_of_several_labels_the_newest_version_of_a_kernel_counts() -> None:
    old, new = row(files={"old": 1}), row(files={"new": 2})
    made = arranged(replace(old, version="1"), replace(new, version="2"))
    assert [(k.version, dict(k.files)) for k in box(made).kernels] == [("2", {"new": 2})]


def test_another_choice_of_kernels_is_a_change_with_its_bytes() -> None:
    made = noble("ga-24.04", stored={NOBLE_IMAGE: {"ga-k": 10, "root": 90}}, ready=("ga-k", "root"))
    change = pending(made, {NOBLE}, {LINE: ("hwe-24.04",)})
    assert change
    assert change.deletes
    assert (change.new_bytes, change.freed_bytes) == (11, 10)
    (one,) = change.kernels
    assert (one.added, one.removed, one.lost) == (("hwe-24.04",), ("ga-24.04",), ("ga-24.04",))
    assert not pending(made, {NOBLE}, {LINE: ("ga-24.04",)})
    assert change.digest != pending(made, {NOBLE}, {LINE: ALL}).digest


NOBLE_IMAGE = ("ubuntu", "noble", "amd64")


def test_a_page_is_out_of_date_after_another_choice_of_kernels() -> None:
    assert base_of(noble("ga-24.04")) != base_of(noble())


def test_a_choice_without_any_kernel_is_refused_with_the_reason() -> None:
    other = row(arch="arm64", files={"arm-k": 1})
    made = arranged(*ROWS, other, selected={NOBLE})
    boxes = list(made.ubuntu[0].boxes.values())
    assert message(boxes, boxes, ["hwe-24.04"]) == (
        "ubuntu/noble arm64 would have no kernel to boot. It has ga-24.04."
    )
    assert message(boxes, boxes, ["hwe-99.04"]).startswith(
        "No source offers hwe-99.04 for ubuntu/noble."
    )
    kernels.check(boxes, boxes, ["ga-24.04"])
    kernels.check(boxes, boxes, ["generic"])
    kernels.check(boxes, boxes[:1], ["hwe-24.04"])  # arm64 isn't selected


def test_a_chosen_kernel_that_is_no_longer_offered_may_stay_chosen() -> None:
    boxes = [box(noble("hwe-23.10", "ga-24.04"))]
    kernels.check(boxes, boxes, ["hwe-23.10", "hwe-24.04"])


# (rule: generic-is-asked-for)
def test_a_choice_without_the_generic_kernel_is_warned_about() -> None:
    boxes = [box(noble())]
    (warning,) = kernels.warnings(boxes, ["hwe-24.04"])
    assert "ubuntu/noble amd64 would have no ga-24.04" in warning
    assert kernels.warnings(boxes, ["ga-24.04"]) == ()
    assert kernels.warnings(boxes, ["generic"]) == ()
    assert kernels.warnings(boxes, ["*"]) == ()


def test_a_choice_is_kept_in_order_and_all_is_all() -> None:
    assert kernels.cleaned(["hwe-24.04-edge", "ga-24.04", "ga-24.04"]) == (
        "ga-24.04", "hwe-24.04-edge",
    )  # fmt: skip
    assert kernels.cleaned(["ga-24.04", "*"]) == ("*",)
    for wrong in ([], ["k" * 65], [f"k{n}" for n in range(101)]):
        with pytest.raises(InvalidFields):
            kernels.cleaned(wrong)


def ruled() -> Picture:
    """Noble with the GA kernel by a rule, and with the HWE kernel as a person selected it."""
    effect = Effect(
        titles={("ubuntu", "noble", "amd64"): ("Newest LTS, ga",)},
        kernels={NOBLE: ("ga-24.04",)},
    )
    stored = {("ubuntu", "noble", "amd64"): {"ga-k": 10, "root": 90, "hwe-k": 11}}
    files = ("ga-k", "root", "hwe-k")
    return noble("hwe-24.04", ruled=effect, stored=stored, ready=files)


def test_deselecting_what_a_rule_keeps_loses_the_kernels_that_it_doesnt_select() -> None:
    made = ruled()
    assert made.ubuntu[0].chosen_kernels == ("ga-24.04", "hwe-24.04")
    change = pending(made, set())
    assert change.stored == ()
    [lost] = change.kernels
    assert (lost.removed, lost.lost) == (("hwe-24.04",), ("hwe-24.04",))
    assert change.deletes
    assert change.freed_bytes == 11
    assert change.digest != pending(noble("hwe-24.04"), set()).digest


def test_a_rule_of_another_source_keeps_its_kernels_too() -> None:
    other = Pick(2, "ubuntu", "noble", "amd64")
    rows = (*ROWS, row(source_id=2))
    effect = Effect(
        titles={("ubuntu", "noble", "amd64"): ("A rule",)}, kernels={other: ("ga-24.04",)}
    )
    made = arranged(*rows, selected={NOBLE}, chosen={LINE: ("ga-24.04",)}, ruled=effect)
    assert pending(made, set()).kernels == ()


def test_kernels_that_a_rule_selects_are_neither_lost_nor_missing() -> None:
    made = ruled()
    [change] = kernels.changes(made, made.boxes, {LINE: ("hwe-24.04-edge",)})
    assert (change.added, change.removed) == (("hwe-24.04-edge",), ("hwe-24.04",))
    assert kernels.warnings(made.boxes, ("hwe-24.04",)) == ()
    [none] = kernels.changes(made, made.boxes, {LINE: ("ga-24.04", "hwe-24.04")})
    assert (none.added, none.removed) == ((), ())
