# SPDX-License-Identifier: Apache-2.0
"""A real Chromium for tests: it may talk to this machine only and may complain about nothing.

A page that logs an error, throws, or asks another host for anything fails its test.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import pytest

from tests.support import network

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Request

    from tests.support.live import LiveSlipway

OF_COLOURS = ("color-contrast", "link-in-text-block")  # rules of axe
WIDTHS = {1280: 800, 390: 844}
PATIENCE_MS = 90_000  # a bound for what hangs, also on a machine that is busy with much else
# What axe does at each width: the colours, and options of axe.run.
RUNS: dict[int, tuple[tuple[Literal["light", "dark"], dict[str, Any]], ...]] = {
    1280: (("light", {}),),
    390: (
        ("light", {"rules": {rule: {"enabled": False} for rule in OF_COLOURS}}),
        ("dark", {"runOnly": list(OF_COLOURS)}),
    ),
}
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Whatever a page names, nothing but this machine can be found.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)
# Chromium's words, and htmx's.
_STATUS = re.compile(
    r"(?:Failed to load resource: the server responded with a status of"
    r"|Response Status Error Code) (\d+)"
)
# Only without scripting does <noscript> have elements in it.
_HAS_NO_SCRIPTING = """() => {
    const probe = document.createElement('div')
    probe.innerHTML = '<noscript><i></i></noscript>'
    return probe.querySelector('i') !== null
}"""


def chromium() -> str:
    """The browser's program; CHROMIUM names another one."""
    names = [os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome"]
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found is None:
        raise RuntimeError("Chromium is missing. Next: deploy/install-packages.sh test")
    return found


@dataclass
class Watch:
    """What went wrong in the pages of a test. A 422 is an answer to a form, no error."""

    allowed: set[int] = field(default_factory=lambda: {422})
    problems: list[str] = field(default_factory=list)

    def allow(self, *statuses: int) -> None:
        """Expect these HTTP statuses; Chromium logs each as an error."""
        self.allowed.update(statuses)

    def over(self, context: BrowserContext) -> None:
        """Listen to all pages of a context."""
        context.on("console", lambda message: self._heard(message.type, message.text))
        context.on("weberror", lambda problem: self.problems.append(f"threw: {problem.error}"))
        context.on("request", self._asked)

    def check(self) -> None:
        """Fail the test when anything was noticed."""
        if self.problems:
            pytest.fail("the browser complained:\n" + "\n".join(self.problems), pytrace=False)

    def _heard(self, kind: str, text: str) -> None:
        status = _STATUS.match(text)
        if kind == "error" and not (status and int(status[1]) in self.allowed):
            self.problems.append(f"console: {text}")

    def _asked(self, request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme in ("http", "https", "ws", "wss") and not network.is_local(url.hostname):
            self.problems.append(f"asked another host: {request.url}")


OpenPage = Callable[..., "Page"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, started once."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        yield running
        running.close()


@pytest.fixture
def watch() -> Watch:
    """What the pages of this test complain about; ``watch.allow(404)`` expects a status."""
    return Watch()


@pytest.fixture
def open_page(browser: Browser, watch: Watch) -> Iterator[OpenPage]:
    """Open a page in a browser of its own: ``open_page(url, js=False, width=390, dark=True)``.

    ``page.goto("/path")`` is below the url. The test fails at its end for what
    any of its pages complained about.
    """
    contexts: list[BrowserContext] = []

    def make(url: str, *, js: bool = True, width: int = 1280, dark: bool = False) -> Page:
        context = browser.new_context(
            base_url=url,
            java_script_enabled=js,
            viewport={"width": width, "height": WIDTHS.get(width, 800)},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
            locale="en-GB",
            timezone_id="UTC",
        )
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        watch.over(context)
        return context.new_page()

    yield make
    for context in contexts:
        context.close()
    watch.check()


@pytest.fixture
def page(open_page: OpenPage, live: LiveSlipway) -> Page:
    """A page of the shared Slipway; nobody is signed in."""
    return open_page(live.web_url)


@pytest.fixture
def page_nojs(open_page: OpenPage, live: LiveSlipway) -> Page:
    """The same with JavaScript switched off."""
    return open_page(live.web_url, js=False)


def reload(page: Page) -> None:
    """Reload the page; a navigation still under way ends first.

    Chromium refuses to reload a page that it is leaving, so that is tried again.
    """
    from playwright.sync_api import Error

    for attempt in range(5):
        try:
            page.wait_for_load_state()
            page.reload()
            return
        except Error:
            if attempt == 4:
                raise
            page.wait_for_timeout(200)


def axe(page: Page) -> None:
    """Fail when axe finds anything, or when the page is wider than the screen.

    Every rule runs at both widths. Contrasts take nearly all of the time and don't depend on
    the width, so light ones are measured on the wide page and dark ones on the phone. Leaves
    the page as it found it. axe is a script: it needs a page that was opened with JavaScript.
    """
    from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]

    if page.evaluate(_HAS_NO_SCRIPTING):
        raise ValueError("axe cannot run in a page without JavaScript")
    size = page.viewport_size or {"width": 1280, "height": WIDTHS[1280]}
    found: list[str] = []
    for width, height in WIDTHS.items():
        page.set_viewport_size({"width": width, "height": height})
        overflow = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        if overflow > 0:
            found.append(f"{width} px: the page is {overflow} px too wide")
        for scheme, options in RUNS[width]:
            page.emulate_media(color_scheme=scheme)
            lines = _violations(page, Axe().axe_script, options)
            found += [f"{width} px, {scheme}: {line}" for line in lines]
    page.emulate_media(color_scheme="null")
    page.set_viewport_size(size)
    if found:
        pytest.fail(f"axe on {page.url}:\n" + "\n".join(found), pytrace=False)


def _violations(page: Page, script: str, options: Mapping[str, object]) -> list[str]:
    """What axe finds, by all of its rules when the options name none."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(script)
    report: dict[str, Any] = page.evaluate(
        # Preloading would copy our style sheets into inline ones, which the policy forbids.
        "options => axe.run({resultTypes: ['violations'], preload: false, ...options})",
        options,
    )
    return [
        f"{violation['id']} ({violation['impact']}): {violation['help']}: {node['html'][:200]}"
        for violation in report["violations"]
        for node in violation["nodes"]
    ]
