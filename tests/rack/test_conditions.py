# SPDX-License-Identifier: Apache-2.0
"""RFC 9110 sections 13 and 14 as a table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.rack.conditions import Decision, Facts, choose_range, decide

TAG = '"' + "a" * 64 + '"'
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
EARLIER = "Sun, 06 Nov 1994 08:49:36 GMT"
LATER = "Sun, 06 Nov 1994 08:49:38 GMT"
FACTS = Facts(size=10, etag=TAG, modified=784111777, is_date_strong=True)
WEAK_DATE = Facts(size=10, etag=TAG, modified=784111777, is_date_strong=False)
ALL = Decision(200, 0, 10)


def asked(method: str = "GET", facts: Facts = FACTS, **headers: str) -> Decision:
    return decide(method, {f"HTTP_{name}": value for name, value in headers.items()}, facts)


@pytest.mark.parametrize(
    ("wanted", "status", "start", "stop"),
    [
        ("bytes=0-0", 206, 0, 1),
        ("bytes=0-9", 206, 0, 10),
        ("bytes=3-5", 206, 3, 6),
        ("bytes=3-", 206, 3, 10),
        ("bytes=9-", 206, 9, 10),
        ("bytes=3-99", 206, 3, 10),
        ("bytes=0-99999999999999999999999", 206, 0, 10),
        ("bytes=-1", 206, 9, 10),
        ("bytes=-10", 206, 0, 10),
        ("bytes=-99", 206, 0, 10),
        ("BYTES=1-2", 206, 1, 3),
        (" bytes=1-2 ", 206, 1, 3),
        ("bytes=10-", 416, 0, 0),
        ("bytes=10-10", 416, 0, 0),
        ("bytes=99999999999999999999999-", 416, 0, 0),
        ("bytes=-0", 416, 0, 0),
        ("bytes=0-1,3-4", 200, 0, 10),
        ("bytes=0-0,0-0,0-0,0-0", 200, 0, 10),
        ("bytes=5-3", 200, 0, 10),
        ("bytes=a-b", 200, 0, 10),
        ("bytes=-", 200, 0, 10),
        ("bytes=", 200, 0, 10),
        ("bytes", 200, 0, 10),
        ("bytes=1", 200, 0, 10),
        ("bytes=+1-2", 200, 0, 10),
        ("bytes=0x1-2", 200, 0, 10),
        ("bytes=1_0-", 200, 0, 10),
        ("bytes=\u0661-", 200, 0, 10),
        ("bytes 0-5", 200, 0, 10),
        ("items=0-5", 200, 0, 10),
        ("", 200, 0, 10),
    ],
)
def test_range(wanted: str, status: int, start: int, stop: int) -> None:
    assert asked(RANGE=wanted) == Decision(status, start, stop)


@pytest.mark.parametrize(
    ("wanted", "status"), [("bytes=0-", 416), ("bytes=-0", 416), ("bytes=-5", 200), ("x=1-2", 200)]
)
def test_range_of_an_empty_file(wanted: str, status: int) -> None:
    assert choose_range(wanted, 0) == Decision(status, 0, 0)


@given(st.integers(0, 40), st.one_of(st.none(), st.integers(0, 50)), st.integers(1, 40))
def test_range_is_the_slice(first: int, last: int | None, size: int) -> None:
    found = choose_range(f"bytes={first}-{'' if last is None else last}", size)
    if last is not None and last < first:
        assert found == Decision(200, 0, size)
    elif first >= size:
        assert found.status == 416
    else:
        everything = range(size)
        assert found.status == 206
        assert (
            everything[found.start : found.stop]
            == everything[first : None if last is None else last + 1]
        )


@given(st.text(max_size=40))
def test_range_of_nonsense_is_the_whole_or_a_part_of_it(wanted: str) -> None:
    found = choose_range(wanted, 10)
    assert found.status in (200, 206, 416)
    assert 0 <= found.start <= found.stop <= 10


def test_head_has_no_ranges() -> None:
    assert asked("HEAD", RANGE="bytes=0-0") == ALL


@pytest.mark.parametrize(
    ("validator", "is_current"),
    [
        (TAG, True),
        (f" {TAG} ", True),
        (f"W/{TAG}", False),
        ('"b"', False),
        (TAG.strip('"'), False),
        ("*", False),
        (f'"b", {TAG}', False),
        (DATE, True),
        ("Sunday, 06-Nov-94 08:49:37 GMT", True),
        ("Sun Nov  6 08:49:37 1994", True),
        (EARLIER, False),
        (LATER, False),
        ("yesterday", False),
        ("", False),
    ],
)
def test_if_range(validator: str, is_current: bool) -> None:
    wanted = Decision(206, 2, 4) if is_current else ALL
    assert asked(RANGE="bytes=2-3", IF_RANGE=validator) == wanted


@pytest.mark.parametrize("name", ["IF_MODIFIED_SINCE", "IF_UNMODIFIED_SINCE", "IF_RANGE"])
def test_a_date_of_no_calendar_means_nothing(name: str) -> None:
    field = "Sat, 29 Oct 9999999994 19:43:31 GMT"
    assert asked("GET", **{name: field}).status == 200


def test_if_range_with_a_date_needs_a_strong_one() -> None:
    assert asked(facts=WEAK_DATE, RANGE="bytes=2-3", IF_RANGE=DATE) == ALL
    assert asked(facts=WEAK_DATE, RANGE="bytes=2-3", IF_RANGE=TAG).status == 206


def test_if_range_that_fails_makes_an_unsatisfiable_range_the_whole() -> None:
    assert asked(RANGE="bytes=99-", IF_RANGE='"b"') == ALL


def test_if_range_without_range_means_nothing() -> None:
    assert asked(IF_RANGE='"b"') == ALL


@pytest.mark.parametrize(
    ("field", "status"),
    [
        (TAG, 304),
        (f"W/{TAG}", 304),
        (f'"b", {TAG}', 304),
        (f'"b",,W/"c" , {TAG},', 304),
        ("*", 304),
        ('"b"', 200),
        (f'"x{TAG[1:]}', 200),
        (TAG.strip('"'), 200),
        (f'"b,{TAG[1:]}', 200),
        (f'{TAG} "b"', 200),
        ("", 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_if_none_match(method: str, field: str, status: int) -> None:
    assert asked(method, IF_NONE_MATCH=field).status == status


@pytest.mark.parametrize(
    ("field", "status"),
    [
        (TAG, 200),
        (f'"b", {TAG}', 200),
        ("*", 200),
        (f"W/{TAG}", 412),
        ('"b"', 412),
        ("", 412),
        (TAG.strip('"'), 412),
    ],
)
def test_if_match(field: str, status: int) -> None:
    assert asked(IF_MATCH=field).status == status


@pytest.mark.parametrize(
    ("date", "modified_since", "unmodified_since"),
    [(EARLIER, 200, 412), (DATE, 304, 200), (LATER, 304, 200), ("soon", 200, 200), ("", 200, 200)],
)
def test_dates(date: str, modified_since: int, unmodified_since: int) -> None:
    assert asked(IF_MODIFIED_SINCE=date).status == modified_since
    assert asked(IF_UNMODIFIED_SINCE=date).status == unmodified_since


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"IF_MATCH": TAG, "IF_UNMODIFIED_SINCE": EARLIER}, 200),
        ({"IF_MATCH": '"b"', "IF_NONE_MATCH": TAG}, 412),
        ({"IF_MATCH": TAG, "IF_NONE_MATCH": TAG}, 304),
        ({"IF_NONE_MATCH": '"b"', "IF_MODIFIED_SINCE": LATER}, 200),
        ({"IF_NONE_MATCH": TAG, "IF_MODIFIED_SINCE": EARLIER}, 304),
        ({"IF_UNMODIFIED_SINCE": EARLIER, "IF_NONE_MATCH": TAG}, 412),
        ({"IF_NONE_MATCH": TAG, "RANGE": "bytes=99-"}, 304),
        ({"IF_MATCH": '"b"', "RANGE": "bytes=0-0"}, 412),
        ({"IF_MATCH": TAG, "RANGE": "bytes=0-0"}, 206),
    ],
)
def test_order_of_conditions(headers: dict[str, str], status: int) -> None:
    assert asked(**headers).status == status
