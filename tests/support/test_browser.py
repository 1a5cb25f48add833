# SPDX-License-Identifier: Apache-2.0
"""The browser fixtures notice what a page does wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mirror.faults import Fault
from tests.mirror.server import MirrorServer
from tests.support.browser import OpenPage, Watch, axe

pytestmark = pytest.mark.browser

GOOD = """<!doctype html><html lang="en"><head><title>A page</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">
<style>@media (prefers-color-scheme: dark) { body { background: #111; color: %s } }</style>
</head><body><main><h1>A page</h1><p>Words</p>%s</main></body></html>"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[MirrorServer]:
    pages = {
        "good": GOOD % ("#eee", ""),
        "dim": GOOD % ("#222", ""),
        "wide": GOOD % ("#eee", '<div style="width: 500px">wide</div>'),
        "script": GOOD % ("#eee", "<script>document.title = 'ran'</script>"),
        "throws": GOOD % ("#eee", "<script>throw new Error('no')</script>"),
        "logs": GOOD % ("#eee", "<script>console.error('oh')</script>"),
        "foreign": GOOD % ("#eee", '<img alt="x" src="http://images.example.test/x.png">'),
    }
    for name, text in pages.items():
        tmp_path.joinpath(name).write_text(text)
    with MirrorServer(tmp_path, [Fault(path="^", headers={"Content-Type": "text/html"})]) as server:
        yield server


def test_a_good_page_passes(site: MirrorServer, open_page: OpenPage) -> None:
    page = open_page(site.url)
    page.goto("/good")
    axe(page)
    axe(page)
    assert page.viewport_size == {"width": 1280, "height": 800}


@pytest.mark.parametrize(
    ("name", "finding"), [("dim", "390 px, dark: color-contrast"), ("wide", "390 px: the page is")]
)
def test_axe_checks_dark_mode_and_small_screens(
    site: MirrorServer, open_page: OpenPage, name: str, finding: str
) -> None:
    page = open_page(site.url)
    page.goto(f"/{name}")
    with pytest.raises(pytest.fail.Exception, match=finding):
        axe(page)


def test_scripts_run_only_where_they_may(site: MirrorServer, open_page: OpenPage) -> None:
    titles = []
    for js in (True, False):
        page = open_page(site.url, js=js)
        page.goto("/script")
        titles.append(page.title())
    assert titles == ["ran", "A page"]


def test_axe_says_that_it_needs_scripts(site: MirrorServer, open_page: OpenPage) -> None:
    page = open_page(site.url, js=False)
    page.goto("/good")
    with pytest.raises(ValueError, match="without JavaScript"):
        axe(page)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("throws", "threw: no"),
        ("logs", "console: oh"),
        ("foreign", "asked another host: http://images.example.test/x.png"),
        ("missing", "status of 404"),
    ],
)
def test_complaints_are_noticed(
    site: MirrorServer, open_page: OpenPage, watch: Watch, name: str, problem: str
) -> None:
    open_page(site.url).goto(f"/{name}", wait_until="networkidle")
    assert problem in "\n".join(watch.problems)
    watch.problems.clear()


def test_an_expected_status_is_no_complaint(
    site: MirrorServer, open_page: OpenPage, watch: Watch
) -> None:
    watch.allow(404)
    open_page(site.url).goto("/missing")
    assert watch.problems == []
