# SPDX-License-Identifier: Apache-2.0
"""The command line's journeys on a real terminal: on the machine itself, and on another one."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest
from pexpect.fdpexpect import fdspawn

from tests.e2e.uploads.disk import raw_disk
from tests.mirror.maker import make_mirror
from tests.mirror.server import MirrorServer
from tests.support import disks
from tests.support.commands import OnTerminal
from tests.support.live import ADMIN, PASSWORD, LiveSlipway, wait_until
from tests.support.signed import SigningKey

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
Start = Callable[[dict[str, str]], LiveSlipway]
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """Somebody at a terminal; answers questions as a person does."""

    def __init__(self, env: dict[str, str], data_dir: Path = Path()) -> None:
        self.data_dir = data_dir
        self.env = {**env, "TERM": "xterm", "COLUMNS": "160", "LINES": "50"}

    def run(self, *args: str | Path, answers: dict[str, str] | None = None, code: int = 0) -> str:
        """Run a command to its end and return what the screen showed."""
        command = OnTerminal(args, self.env)
        shown = ""
        with fdspawn(command.screen, encoding="utf-8", timeout=100, use_poll=True) as child:
            for question, answer in (answers or {}).items():
                child.expect(question)
                shown += child.before + child.after
                child.sendline(answer)
            child.expect(pexpect.EOF)
            shown += child.before
        shown = _ANSI.sub("", shown)
        assert command.code() == code, shown
        assert "Traceback" not in shown
        return shown

    def json(self, *args: str) -> Any:
        """The same for a program."""
        return json.loads(self.run(*args, "--json"))


@pytest.fixture(params=["local", "remote"])
def place(request: pytest.FixtureRequest, make_live: Start, tmp_path: Path) -> Iterator[Terminal]:
    """A terminal on the machine itself, or on one that knows an address and a token."""
    slipway = make_live({"SLIPWAY_WEB_WORKERS": "1", "SLIPWAY_RACK_WORKERS": "1"})
    slipway.cli("user", "create", ADMIN, "--password-stdin", stdin=PASSWORD)
    if request.param == "local":
        yield Terminal(slipway.env, slipway.data_dir)
        return
    token = tmp_path / "token"
    token.write_text(slipway.cli("token", "create", ADMIN, "--scope", "all"))
    plain = {name: slipway.env[name] for name in ("PATH", "HOME") if name in slipway.env}
    remote = {"SLIPWAY_URL": slipway.web_url, "SLIPWAY_TOKEN_FILE": str(token)}
    yield Terminal(plain | remote, slipway.data_dir)


def test_from_a_boot_source_to_images_and_back(
    place: Terminal, tmp_path: Path, signing_key: SigningKey
) -> None:
    mirror = make_mirror(
        tmp_path, signing_key, kernels=1, loaders=False, centos=False, notification=False
    )
    with MirrorServer(mirror) as server:
        shown = place.run("source", "preview", server.source_url, "--keyring", mirror.keyring)
        assert "Ubuntu 24.04 LTS" in shown
        shown = place.run(
            "source", "add", server.source_url, "--keyring", mirror.keyring, "--name", "lab"
        )
        assert "Added boot source 1" in shown
        wait_until(lambda: "ok" in place.run("source", "list"), "the catalogue is read")
        assert "ubuntu/noble" in place.run("image", "available", "--arch", "amd64")
        shown = place.run("image", "select", "ubuntu/noble", "--arch", "amd64", "--dry-run")
        assert "+ ubuntu/noble amd64" in shown
        assert place.json("image", "list")["items"] == []
        place.run("image", "select", "ubuntu/noble", "--arch", "amd64")
        assert "ubuntu/noble" in place.run("import", "plan", "--all")
        shown = place.run("import", "start", "--wait")
        ended = re.search(r"Import (\d+): succeeded", shown)
        assert ended is not None, shown
        assert "Synced" in place.run("image", "list")
        assert "succeeded" in place.run("import", "list")
        # The scheduled import may have been the first, and have fetched it.
        runs = range(1, int(ended[1]) + 1)
        assert any("squashfs" in place.run("import", "show", str(number)) for number in runs)
        assert "squashfs" in place.run("image", "show", "ubuntu/noble", "--arch", "amd64")
        assert "Stored:" in place.run("status")
        assert "ok    worker" in place.run("doctor")
        place.run("setting", "set", "boot_images_auto_import", "false")
        mirror.publish_next()
        place.run("import", "start", "--wait")
        steer(place)
        assert "image.published" in place.run("event", "--kind", "image.")
        assert "boot_images_auto_import" in place.run("setting", "live")
        # The first import chose noble, which would have to stay.
        place.run("setting", "set", "commissioning_distro_series", "jammy")
        stopped = place.run(
            "image", "unselect", "ubuntu/noble", answers={"Deselect": "n"}, code=130
        )
        assert "The next import will move ubuntu/noble amd64" in stopped
        place.run("image", "unselect", "ubuntu/noble", answers={"Deselect": "y"})
        place.run("image", "delete", "ubuntu/noble", answers={"Delete": "y"})
        assert place.json("image", "list")["items"] == []
        bring_back(place)
        place.run("source", "change", "1", "--off", "--priority", "7")
        assert "off" in place.run("source", "show", "1")
        place.run("source", "remove", "1", answers={"Remove": "y"})
        assert "No boot sources yet" in place.run("source", "list")


def bring_back(place: Terminal) -> None:
    """Restore noble from the bin, delete it again and empty the bin."""
    assert "deleted on request" in place.run("image", "bin")
    assert "selected again" in place.run("image", "restore", "ubuntu/noble", "--arch", "amd64")
    assert "ubuntu/noble" in place.run("image", "list")
    assert "isn't in the bin" in place.run("images", "restore", "ubuntu/noble", code=1)
    place.run("image", "unselect", "ubuntu/noble", "--yes")
    place.run("image", "delete", "ubuntu/noble", "--yes")
    place.run("image", "bin", "--discard", "ubuntu/noble", answers={"Delete": "n"}, code=130)
    assert place.json("image", "bin")["bytes"] > 0
    assert "freed shortly" in place.run("image", "bin", "--empty", answers={"Delete": "y"})
    assert "The bin is empty" in place.run("image", "bin")


def steer(place: Terminal) -> None:
    """Roll noble back, lock it, and let it go forward again."""
    noble = ("ubuntu/noble", "--arch", "amd64")
    shown = place.json("images", "versions", *noble)
    new, old = (version["version"] for version in shown["versions"])
    assert "changed" in place.run("image", "diff", *noble)
    assert place.json("image", "diff", *noble, "--from", new, "--to", old)["after"] == old
    shown = place.run("image", "rollback", *noble)
    assert f"version {old} is now current (previously {new}). It's pinned." in shown
    assert "pinned" in place.run("image", "versions", *noble)
    assert f"pinned to {old}; {new} is available" in place.run("import", "plan", "--all")
    assert f"is pinned to {new}" in place.run("image", "pin", *noble, "--version", new)
    assert "no longer pinned" in place.run("image", "unpin", *noble)
    assert "is locked" in place.run("image", "lock", *noble, "--version", old)
    assert "is locked" in place.run("image", "delete", "ubuntu/noble", "--yes", code=1)
    assert "no longer locked" in place.run("image", "unlock", *noble, "--version", old)
    assert "2 versions stored" in place.run("image", "keep", *noble, "--versions", "4")
    assert "isn't stored" in place.run("image", "pin", *noble, "--version", "1", code=1)


def test_an_upload_continues_and_its_versions_are_rolled_back(
    place: Terminal, tmp_path: Path
) -> None:
    one, two = tmp_path / "one.tgz", tmp_path / "two.tgz"
    for number, path in enumerate((one, two)):
        path.write_bytes(raw_disk((12 + number) << 20))
    send = ("--name", "web", "--filetype", "ddraw")
    shown = place.run("upload", one, *send)
    assert "is now current" in shown
    shown = place.run("upload", one, "--name", "twin")  # what it is shows from its head
    assert "Not compressed, GPT disk of 12 MiB" in shown
    assert "nothing was sent" in shown
    place.run("upload", two, *send)
    versions = place.json("image", "show", "web")["items"][0]["versions"]
    assert [v["is_current"] for v in versions] == [True, False]
    digests = [v["files"][0]["sha256"] for v in versions]
    assert digests == [hashlib.sha256(path.read_bytes()).hexdigest() for path in (two, one)]
    assert "is now current" in place.run("image", "rollback", "web")
    assert [
        v["is_current"] for v in place.json("image", "show", "web")["items"][0]["versions"]
    ] == [False, True]
    place.run("image", "delete", "web", "--version", versions[0]["version"], "--yes")
    assert "No older version" in place.run("image", "rollback", "web", code=1)
    assert "No uploads in progress" in place.run("upload", "list")
    mixed_up = place.run("upload", one, "--name", "web", "--filetype", "ddgz", code=1)
    assert "Its type is ddraw." in mixed_up
    assert "Nothing was sent." in mixed_up
    refused = place.run("upload", one, "--name", "windows", code=1)
    assert "reserved name" in refused
    assert "Select a valid choice" in place.run(
        "upload", one, "--name", "x", "--filetype", "exe", code=1
    )


def test_a_file_is_fetched_by_the_server_and_its_details_corrected(place: Terminal) -> None:
    folder = place.data_dir / "import"
    folder.mkdir()
    (folder / "disk.gz").write_bytes(gzip.compress(disks.linux_disk(), 1, mtime=0))
    known = place.run("upload", "fetch", "disk.gz", "--name", "twin")
    assert "is now current" in known
    stopped = place.run("upload", "fetch", "disk.gz", "--name", "lab", "--filetype", "tgz", code=1)
    assert "This isn't tgz" in stopped
    upload_id = str(place.json("upload", "list")["items"][0]["id"])
    done = place.run("upload", "change", upload_id, "--filetype", "ddgz")
    assert "is now current" in done
    assert "File not found" in place.run("upload", "fetch", "none", "--name", "x", code=1)
    assert "needs the SHA-256" in place.run(
        "upload", "fetch", "http://127.0.0.1:9/x", "--name", "x", code=1
    )


def test_mistakes_are_reported_in_words(place: Terminal) -> None:
    assert "There's no image nothing" in place.run("image", "show", "nothing", code=1)
    assert "expected OS/RELEASE" in place.run("image", "select", "noble", code=2)
    assert "Boot source not found" in place.run("source", "show", "7", code=1)
    assert "No import is running" in place.run("import", "stop", code=1)
    assert "isn't an image setting" in place.run("setting", "set", "x", "y", code=1)
    elsewhere = ("--url", "http://127.0.0.1:9/")
    env = {**place.env, "SLIPWAY_TOKEN": "slp_x"}
    env.pop("SLIPWAY_TOKEN_FILE", None)
    assert "doesn't answer" in Terminal(env).run("status", *elsewhere, code=1)
    assert "without a user or password" in place.run("status", "--url", "http://u:p@h/", code=2)


def test_a_token_is_needed_and_never_shown(make_live: Start) -> None:
    slipway = make_live({"SLIPWAY_WEB_WORKERS": "1", "SLIPWAY_RACK_WORKERS": "1"})
    bare = {name: slipway.env[name] for name in ("PATH", "HOME") if name in slipway.env}
    bare |= {"SLIPWAY_URL": slipway.web_url}
    assert "a token is needed" in Terminal(bare).run("status", code=2)
    wrong = Terminal(bare | {"SLIPWAY_TOKEN": "slp_wrong_one"}).run("status", code=1)
    assert "isn't valid" in wrong
    assert "slp_wrong_one" not in wrong
    assert "slp_wrong_one" not in slipway.output()
