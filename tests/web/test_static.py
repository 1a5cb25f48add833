# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import re

import pytest

from tests.web.visitors import Visitor
from webapp import middleware
from webapp.config import ROOT

STATIC = ROOT / "static"
VENDOR = STATIC / "vendor"


def linked(visitor: Visitor) -> set[str]:
    page = visitor.get("/setup").text
    return set(re.findall(r'(?:href|src|data-icons)="(/static/[^"#]+)', page))


def test_files_under_the_name_of_their_content_are_kept_for_ever(stranger: Visitor) -> None:
    urls = linked(stranger)
    assert len(urls) == 5
    for url in urls:
        with stranger.get(url) as response:
            assert response.status_code == 200, url
            assert "immutable" in response.headers["Cache-Control"], url
            assert "Set-Cookie" not in response.headers


def test_other_names_are_asked_for_again(stranger: Visitor) -> None:
    with stranger.get("/static/app.css") as response:
        assert response.headers["Cache-Control"] == "max-age=3600, public"
        etag = response.headers["ETag"]
    with stranger.get("/static/app.css", If_None_Match=etag) as response:
        assert response.status_code == 304
        assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_the_name_changes_with_the_content(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("static")
    seen = set()
    for name, text in (("a.css", "a"), ("a.css", "b"), ("b.css", "b")):
        (folder / name).write_text(text)
        seen.add(middleware._content_hash(folder))
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("app.css", "text/css"),
        ("app.js", "text/javascript"),
        ("guard.js", "text/javascript"),
        ("icons.svg", "image/svg+xml"),
        ("favicon.svg", "image/svg+xml"),
    ],
)
def test_files_say_what_they_are(stranger: Visitor, name: str, kind: str) -> None:
    with stranger.get(f"/static/{name}") as response:
        assert response.content_type.startswith(kind)


def test_what_others_wrote_is_what_the_manifest_says() -> None:
    lines = (VENDOR / "MANIFEST").read_text().splitlines()
    names = {line.split()[1] for line in lines}
    assert names == {path.name for path in VENDOR.iterdir()} - {"MANIFEST"}
    for line in lines:
        digest, name, _package, version, licence = line.split()
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest
        assert version in name
        assert licence in ("MIT", "0BSD")
        assert f"{name.partition('-')[0]}-{version}.LICENSE" in names


def test_nothing_names_another_host() -> None:
    asked = re.compile(r"""(?:src|href|action|url)\s*[=(]\s*["']?(https?://[^"')\s]+)""")
    for path in (STATIC / "app.css", *STATIC.glob("*.js"), *ROOT.glob("templates/**/*.html")):
        assert asked.findall(path.read_text()) == [], path


@pytest.mark.parametrize(("name", "lines"), [("app.js", 160), ("guard.js", 30)])
def test_the_scripts_stay_small(name: str, lines: int) -> None:
    assert len((STATIC / name).read_text().splitlines()) <= lines


def test_every_icon_that_is_named_is_drawn() -> None:
    drawn = set(re.findall(r'<symbol id="([^"]+)"', (STATIC / "icons.svg").read_text()))
    for path in ROOT.glob("templates/**/*.html"):
        named = set(re.findall(r"""ui\.icon\("([^"]+)""", path.read_text()))
        named |= set(re.findall(r"""ui\.status\("([^"]+)""", path.read_text()))
        assert named <= drawn, path


def test_colours_come_from_tokens_alone() -> None:
    text = (STATIC / "app.css").read_text()
    defined = set(re.findall(r"^\s*(--[\w-]+):", text, re.MULTILINE))
    used = {name for name in re.findall(r"var\((--[\w-]+)", text) if not name.startswith("--pico-")}
    assert used <= defined
