# SPDX-License-Identifier: Apache-2.0
"""A rack behind nginx answers from new names only when the links mean them too."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from webapp.rack import in_step
from webapp.rack.in_step import LinksMark, NamesInStep
from webapp.services.images.published import PublishedNames
from webapp.services.images.serving import NamesUnread


@dataclass
class Published:
    """Names whose serial a test sets."""

    serial: int

    def names(self, *, refresh: bool = False) -> PublishedNames:
        return PublishedNames(self.serial, {}, None)


def test_names_wait_for_the_links() -> None:
    published, mark = Published(1), LinksMark()
    mark.set(1)
    names = NamesInStep(published, mark)
    assert names.names().serial == 1
    published.serial = 2
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(names.names)
        with pytest.raises(TimeoutError):
            waiting.result(0.1)
        mark.set(2)
        assert waiting.result(60).serial == 2


def test_names_that_the_links_are_past_do_not_wait() -> None:
    mark = LinksMark()
    mark.set(5)
    assert NamesInStep(Published(4), mark).names().serial == 4


def test_without_links_the_rack_answers_by_itself() -> None:
    mark = LinksMark()
    mark.set()
    assert NamesInStep(Published(9), mark).names().serial == 9


def test_links_that_do_not_follow_are_no_reason_to_mix_sets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(in_step, "WAIT_S", 0.0)
    with pytest.raises(NamesUnread, match="links for nginx"):
        NamesInStep(Published(1), LinksMark()).names()
