# SPDX-License-Identifier: Apache-2.0
"""Every page as people meet it: in Chromium, with and without JavaScript, under axe."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.mirror.faults import Fault
from tests.mirror.maker import Mirror, make_mirror
from tests.mirror.server import MirrorServer
from tests.support import factories, scenery, signed
from tests.support.browser import OpenPage, Watch, axe
from tests.support.live import ADMIN, PASSWORD, LiveSlipway
from tests.web.visitors import Visitor
from webapp.extensions import db
from webapp.models import Role, utcnow

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = [pytest.mark.browser, pytest.mark.slow]


NOBLE = "os=ubuntu&release=noble&arch=amd64"


class Stage:
    """A Slipway with something on every page, and a visitor of each role."""

    def __init__(self, url: str, mirror: Mirror, server: MirrorServer, cookies: dict[Role, str]):
        self.url, self.mirror, self.server, self.cookies = url, mirror, server, cookies
        self.paths: dict[str, str] = {}

    @property
    def new_source_url(self) -> str:
        """The mirror under another name, since each address may be added once."""
        return self.server.source_url.replace("127.0.0.1", "localhost")

    def enter(self, page: Page, role: Role = Role.ADMINISTRATOR) -> None:
        """Sign a page in."""
        page.context.add_cookies(
            [{"name": "slipway", "value": self.cookies[role], "url": self.url}]
        )


@pytest.fixture(scope="module")
def stage(
    tmp_path_factory: pytest.TempPathFactory, signing_key: signed.SigningKey
) -> Iterator[Stage]:
    mirror = scenery.full_mirror(tmp_path_factory.mktemp("full"), signing_key)
    app = scenery.make_app(tmp_path_factory.mktemp("stage"))
    cookies = {role: Visitor(app, role).cookie() for role in Role}
    with MirrorServer(mirror) as server, app.app_context():
        source = scenery.connected(server.source_url, mirror.key, name="Lab mirror")
        scenery.select_images(source, "ubuntu/noble/amd64,arm64", "centos/centos70/amd64")
        scenery.store_image(source, "ubuntu/noble/amd64")
        scenery.store_image(source, "ubuntu/jammy/amd64", is_unsigned=True)
        scenery.store_image(source, "pxelinux/pxe/i386")
        broken = factories.boot_source(
            name="A mirror with a very long name that nobody ever shortened " + "x" * 60,
            url="http://mirror.example.test/" + "path/" * 40,
            checked_at=utcnow(),
            error_code="http-html",
            error_what="The mirror answers with a web page.",
            error_where="http://mirror.example.test/" + "y" * 150,
            error_next_step="Sign this machine in.",
        )
        upload_id = scenery.unprepared_esxi(ADMIN)
        ended = scenery.ended_imports(source)
        scenery.running_import()
        rack = factories.rack(
            seen_at=utcnow(), errors=[{"at": "2026-01-01T00:00:00Z", "what": "x" * 300}]
        )
        with scenery.served(app) as url:
            made = Stage(url, mirror, server, cookies)
            made.paths = {
                "overview": "/",
                "images": "/images/",
                "image": "/images/ubuntu/noble/amd64",
                "rules": "/images/rules/",
                "delete": "/images/ubuntu/noble/amd64/delete",
                "sources": "/sources/",
                "source": f"/sources/{source.id}",
                "broken source": f"/sources/{broken.id}",
                "new source": "/sources/new",
                "tokens": "/account/tokens",
                "new upload": "/uploads/",
                "new upload's state": f"/uploads/{upload_id}",
                "new upload dropped": f"/uploads/{upload_id}/drop",
                "local mirror": "/local-mirror/",
                "racks": "/racks/",
                "rack": f"/racks/{rack.id}/",
                "removed rack": f"/racks/{rack.id}/remove",
                "vmware": "/vmware/",
                "network": "/vmware/network?example=1",
                "storage": "/vmware/storage?version=8&disk=16&layout=vmfs6&no_datastore=1",
                "api reference": "/help/api",
                "changed source": f"/sources/{source.id}/edit",
                "removed source": f"/sources/{source.id}/remove",
                "changed priority": f"/sources/{source.id}/priority?priority=7",
                "changed switch": f"/sources/{source.id}/switch?on=no",
                "changed binding": f"/sources/bind?{NOBLE}&source={source.id}",
                "imports": "/imports/",
                "import": f"/imports/{ended.id}",
                "all imports": "/imports/history",
                "plan": "/imports/plan",
                "changed timing": "/imports/timing/",
                "offers": "/sources/offers?all=yes",
                "bin": "/images/bin/",
                "stored files": "/storage/",
            }
            db.session.remove()
            yield made


def test_axe_finds_nothing_on_any_page(stage: Stage, open_page: OpenPage) -> None:
    page = open_page(stage.url)
    stage.enter(page)
    # Of a list of 500 offers, which are alike, it measures the few that are selected.
    for path in (stage.paths | {"offers": "/sources/offers"}).values():
        page.goto(path)
        axe(page)


def test_axe_finds_nothing_in_forms_answers_and_open_details(
    stage: Stage, open_page: OpenPage, watch: Watch
) -> None:
    watch.allow(409)
    page = open_page(stage.url)
    stage.enter(page)
    connect(page, stage, url="nonsense")
    page.get_by_text("Some fields have errors").wait_for()
    page.get_by_text("Advanced options").click()
    axe(page)
    connect(page, stage)
    page.get_by_role("heading", name="Source preview").wait_for()
    axe(page)
    page.goto("/images/")
    page.get_by_role("checkbox", name=re.compile("22.04 LTS arm64")).check()
    page.get_by_text("1 to add, 0 to remove").wait_for()
    page.locator("#bootloaders summary").click()
    axe(page)


@pytest.mark.parametrize("role", list(Role))
def test_every_page_opens_without_javascript(
    stage: Stage, open_page: OpenPage, watch: Watch, role: Role
) -> None:
    watch.allow(403)
    page = open_page(stage.url, js=False)
    stage.enter(page, role)
    for name, path in stage.paths.items():
        answer = page.goto(path)
        assert answer
        is_allowed = role == Role.ADMINISTRATOR or not re.search("new|changed|removed|delete", name)
        assert answer.status == (200 if is_allowed else 403), (role, path)
        assert page.locator("h1").count() == 1
        assert page.locator("main form:not(:has([type=submit], button:not([type])))").count() == (
            1 if role == Role.VIEWER and name == "images" else 0
        )


def connect(page: Page, stage: Stage, url: str = "") -> None:
    """Fill in the form of a new source and send it."""
    page.goto("/sources/new")
    page.get_by_label("Custom").check()
    page.get_by_label("Mirror URL").fill(url or stage.new_source_url)
    page.get_by_label("Keyring contents").fill(stage.mirror.keyring_armored.read_text())
    page.get_by_label("Keyring path").fill("")
    page.get_by_role("button", name="Connect").click()


# -- what happens in place


def test_the_first_wrong_field_has_the_focus_with_and_without_javascript(
    stage: Stage, open_page: OpenPage
) -> None:
    for js in (True, False):
        page = open_page(stage.url, js=js)
        stage.enter(page)
        connect(page, stage, url="nonsense")
        page.get_by_text("Enter a valid URL.").wait_for()
        field = page.locator("#url:focus")
        described = field.get_attribute("aria-describedby") or ""
        assert "Enter a valid URL." in page.locator(f"#{described.split()[0]}").inner_text()


def test_what_the_mirror_did_wrong_has_the_focus(stage: Stage, open_page: OpenPage) -> None:
    page = open_page(stage.url)
    stage.enter(page)
    connect(page, stage, url=stage.server.url + "nothing/")
    page.locator("#source-problem:focus").wait_for()
    assert page.get_by_label("Mirror URL").input_value() == stage.server.url + "nothing/"


def test_going_back_from_a_preview_to_the_form_keeps_all_of_it(
    stage: Stage, open_page: OpenPage
) -> None:
    page = open_page(stage.url)
    stage.enter(page)
    page.goto("/sources/")
    connect(page, stage)
    page.get_by_role("heading", name="Source preview").wait_for()
    page.get_by_role("button", name="Back").click()
    page.get_by_role("button", name="Connect").wait_for()
    assert page.get_by_label("Mirror URL").input_value() == stage.new_source_url
    assert "BEGIN PGP" in page.get_by_label("Keyring contents").input_value()


def test_changes_are_read_out_without_moving_the_focus(stage: Stage, open_page: OpenPage) -> None:
    page = open_page(stage.url)
    stage.enter(page)
    page.goto("/images/")
    announcer = page.get_by_role("status").and_(page.locator("#announcer"))
    assert announcer.inner_text() == ""
    box = page.get_by_role("checkbox", name=re.compile("22.04 LTS arm64"))
    box.focus()
    page.keyboard.press("Space")
    page.get_by_text("1 to add, 0 to remove").wait_for()
    announcer.get_by_text("Images to add: 1, to remove: 0").wait_for(state="attached")
    page.locator(':focus[value$="ubuntu/jammy/arm64"]').wait_for()


def test_a_poll_keeps_what_was_opened_and_where_the_focus_is(
    stage: Stage, open_page: OpenPage
) -> None:
    page = open_page(stage.url)
    stage.enter(page)
    page.goto("/imports/")
    waiting = page.locator("#run-image-2")
    assert waiting.get_attribute("open") is None
    waiting.locator("summary").click()
    page.locator("#run-image-1 summary").click()
    page.locator("#stop-import").focus()
    for _ in range(2):
        # Mark what is there: it is gone when the poll has brought the part anew.
        page.locator("#current-import").evaluate("part => part.dataset.old = 'yes'")
        page.locator("#current-import:not([data-old])").wait_for()
        page.locator("#run-image-2[open]").wait_for()
        page.locator("#run-image-1:not([open])").wait_for()
        page.locator("#stop-import:focus").wait_for()


def test_back_shows_the_whole_page_again(stage: Stage, open_page: OpenPage) -> None:
    page = open_page(stage.url)
    stage.enter(page)
    page.goto("/images/")
    page.locator("main").get_by_role("link", name="Ubuntu 24.04 LTS").first.click()
    page.wait_for_url("**/images/ubuntu/noble/amd64")
    page.go_back()
    page.wait_for_url("**/images/")
    page.get_by_role("heading", name="Stored images").wait_for()
    page.locator("header.top").wait_for()


def test_no_page_is_wider_than_a_phone(stage: Stage, open_page: OpenPage) -> None:
    page = open_page(stage.url, width=390, js=False)
    stage.enter(page)
    for path in stage.paths.values():
        page.goto(path)
        box = page.locator("main").bounding_box()
        assert box
        assert box["width"] <= 390, path


# -- the main journey, live, with the keyboard alone


def tab_to(page: Page, goal: Locator) -> None:
    """Press Tab until the goal has the focus."""
    goal.wait_for()
    for _ in range(150):
        if goal.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    pytest.fail(f"Tab never reaches {goal}")


def press(page: Page, goal: Locator, key: str = "Enter") -> None:
    """Go to a control and press a key there."""
    tab_to(page, goal)
    page.keyboard.press(key)


def write(page: Page, goal: Locator, text: str) -> None:
    """Go to a field and type, in place of what stands there."""
    tab_to(page, goal)
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(text)


@pytest.fixture(scope="module")
def large_mirror(
    tmp_path_factory: pytest.TempPathFactory, signing_key: signed.SigningKey
) -> Mirror:
    """Large enough to be stopped by hand before it is all there, on any machine."""
    sizes = {"squashfs": 2 << 20, "root-tgz": 2 << 20}
    return make_mirror(tmp_path_factory.mktemp("large"), signing_key, sizes=sizes)


@pytest.fixture(scope="module")
def slow_server(large_mirror: Mirror) -> Iterator[MirrorServer]:
    with MirrorServer(large_mirror) as running:
        yield running


def test_the_main_journey_needs_no_mouse(
    live: LiveSlipway, slow_server: MirrorServer, large_mirror: Mirror, open_page: OpenPage
) -> None:
    page = open_page(live.web_url)
    page.clock.install()  # it runs as ever, until the end of this test puts it forward
    page.goto("/")
    write(page, page.get_by_label("User name"), ADMIN)
    write(page, page.get_by_label("Password"), PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Overview").wait_for()

    press(page, page.get_by_role("link", name="Add boot source"))
    page.wait_for_url("**/sources/new")
    tab_to(page, page.get_by_label("maas.io stable"))
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    write(page, page.get_by_label("Mirror URL"), slow_server.source_url)
    write(page, page.get_by_label("Keyring contents"), large_mirror.keyring_armored.read_text())
    press(page, page.get_by_role("button", name="Connect"))
    page.get_by_role("heading", name="Source preview").wait_for()
    press(page, page.get_by_role("button", name="Save boot source"))
    select = page.get_by_role("link", name="select images")
    select.wait_for()

    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    press(page, select)
    page.wait_for_url("**/images/")
    page.get_by_text("1 to add, 0 to remove").wait_for()  # what is suggested to begin with
    press(page, page.get_by_role("checkbox", name=re.compile("CentOS 7 amd64")), "Space")
    page.get_by_text("2 to add, 0 to remove").wait_for()
    slow_server.set_faults([Fault(path="squashfs$|root-tgz$", rate=30_000)])
    press(page, page.get_by_role("button", name="Update selection"))
    page.keyboard.press("Enter")  # an impatient hand: it is one import all the same
    page.wait_for_url("**/images/")
    page.get_by_role("link", name="View import").wait_for()

    # The page is usable while the import runs, and the rest of it is where it was.
    press(page, page.get_by_role("link", name="Imports"))
    page.locator("#run-progress[value]").wait_for()
    press(page, page.get_by_role("link", name="Boot sources"))
    page.wait_for_url("**/sources/")
    page.go_back()
    page.locator("#run-progress[value]").wait_for()
    press(page, page.get_by_role("button", name="Stop import"))
    page.get_by_text("No import is running").wait_for()
    page.locator("#announcer", has_text="Import finished: Stopped by user.").wait_for(
        state="attached"
    )

    slow_server.set_faults()
    press(page, page.get_by_role("button", name="Start import"))
    page.wait_for_load_state()
    page.get_by_text("No import is running").wait_for()
    page.get_by_role("row", name=re.compile("Completed")).wait_for()
    assert page.get_by_role("link", name=re.compile("^Import \\d+$")).count() == 2
    polls = [url for url in requests if url.endswith("/imports/")]
    page.clock.run_for(10_000)  # longer than between several polls
    page.evaluate("null")  # what they asked for is known before this answer
    assert [url for url in requests if url.endswith("/imports/")] == polls

    press(page, page.get_by_role("link", name="Images", exact=True))
    page.get_by_role("row", name=re.compile("^Ubuntu 24.04 LTS .*Synced")).wait_for()
    page.get_by_role("row", name=re.compile("^CentOS 7 .*Synced")).wait_for()
