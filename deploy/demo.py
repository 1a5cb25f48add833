# SPDX-License-Identifier: Apache-2.0
"""``make demo``: the main job without the internet.

Makes a small signed mirror with real boot files on this machine, starts
Slipway on a fresh data folder with that mirror as its boot source, selects,
imports, and prints what a machine would fetch with the sha256 it verified.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.mirror import bootfiles  # noqa: E402
from tests.mirror.maker import Mirror, make_mirror  # noqa: E402
from tests.mirror.server import MirrorServer  # noqa: E402
from tests.support import signed  # noqa: E402 - the folder above must be on the path first
from tests.support.ports import keep_port  # noqa: E402

SLIPWAY = [sys.executable, "-m", "webapp.cli.main"]
PATIENCE_S = 120
PASSWORD = "demo only, not a secret"  # noqa: S105 - printed on purpose, gone with the folder


def main() -> int:
    """Run the demo; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="keep serving until Ctrl-C")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "demo")
    options = parser.parse_args()
    folder: Path = options.folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    step("Making a signed mirror")
    boot_files = bootfiles.find()
    say(f"boot files: {boot_files.note}")
    mirror = make_mirror(
        folder / "mirror",
        signed.new_key(),
        releases=["noble", "jammy"],
        arches=["amd64"],
        boot_files=boot_files,
    )
    say(f"signing key: {mirror.key.fingerprint}")
    with MirrorServer(mirror) as server, slipway(folder / "data") as node:
        say(f"boot source: {server.source_url}")
        node.connect()
        return journey(node, server, mirror, options.keep)


def journey(node: Node, server: MirrorServer, mirror: Mirror, is_kept: bool) -> int:
    """Source, selection, import, fetch: the main job through the REST API."""
    step("Adding the boot source")
    source = node.call(
        "POST",
        "boot-sources/",
        {"url": server.source_url},
        {"keyring_data": mirror.keyring.read_bytes()},
    )
    wait("the catalogue", lambda: node.status()["sources"][0]["refreshed_at"])
    step("Selecting Ubuntu 24.04 and CentOS 7 for amd64")
    for os_name, release in (("ubuntu", "noble"), ("centos", "centos70")):
        node.call(
            "POST",
            f"boot-sources/{source['id']}/selections/",
            {"os": os_name, "release": release, "arches": "amd64", "subarches": "*", "labels": "*"},
        )
    step("Importing")
    node.call("POST", "boot-resources/?op=import", {})
    wait("the import", node.is_imported, show=node.progress)
    run = node.status()["last_run"]
    say(f"{run['state']}: {run['summary']}")
    if run["state"] != "succeeded":
        print(json.dumps(run["failures"], indent=2))
        return 1
    step("What a machine fetches")
    is_good = all([fetch(node, row) for row in node.call("GET", "boot-resources/")])
    if is_kept:
        step("Serving until Ctrl-C")
        say(f"pages: {node.web}  user: demo  password: {PASSWORD}")
        with_quiet_interrupt()
    return 0 if is_good else 1


def fetch(node: Node, row: dict[str, object]) -> bool:
    """Fetch every file of an image from the rack and compare its digest."""
    detail = node.call("GET", f"boot-resources/{row['id']}/")
    (version,) = detail["sets"].values()
    os_name, release = detail["name"].split("/")
    is_good = True
    for file in version["files"].values():
        path = f"images/{os_name}/{detail['architecture']}/{release}/{version['label']}"
        url = f"{node.rack}{path}/{file['filename']}"
        body = requests.get(url, timeout=30).content
        is_same = hashlib.sha256(body).hexdigest() == file["sha256"]
        is_good &= is_same
        say(f"{'verified' if is_same else 'DIFFERENT'}  sha256 {file['sha256']}  {url}")
    return is_good


class Node:
    """A running Slipway as its operator sees it."""

    def __init__(self, data: Path) -> None:
        self.web_port, self.rack_port = keep_port(), keep_port()
        self.web = f"http://127.0.0.1:{self.web_port}/"
        self.rack = f"http://127.0.0.1:{self.rack_port}/"
        self.key = ""
        self.env = {name: v for name, v in os.environ.items() if not name.startswith("SLIPWAY_")}
        self.env |= {
            "SLIPWAY_DATA_DIR": str(data),
            "SLIPWAY_DEFAULTS": "off",
            "SLIPWAY_WEB_BIND": f"127.0.0.1:{self.web_port}",
            "SLIPWAY_RACK_BIND": f"127.0.0.1:{self.rack_port}",
            "SLIPWAY_WEB_WORKERS": "1",
            "SLIPWAY_RACK_WORKERS": "1",
        }

    def cli(self, *words: str, text: str = "") -> str:
        """Run one slipway command and return what it printed."""
        done = subprocess.run(
            [*SLIPWAY, *words], input=text, env=self.env, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def connect(self) -> None:
        """Wait for both planes, then make a user and its API key."""
        wait("web and rack", lambda: answers(self.web) and answers(self.rack))
        self.cli("admin", "create", "demo", "--password-stdin", text=PASSWORD + "\n")
        self.key = self.cli("admin", "apikey", "demo")

    def status(self) -> dict[str, object]:
        """What ``slipway status --json`` says."""
        return json.loads(self.cli("status", "--json"))

    def is_imported(self) -> bool:
        """Whether the import that was asked for has ended."""
        status = self.status()
        return not status["is_importing"] and bool(status["images"])

    def progress(self) -> str:
        """The running import in one line."""
        run = self.status()["run"]
        return f"{run['bytes_done']:,} of {run['bytes_total']:,} bytes" if run else ""

    def call(
        self, method: str, path: str, form: dict[str, str] | None = None, files: object = None
    ) -> object:
        """One REST call, signed as every MAAS client signs it."""
        consumer, token, secret = self.key.split(":")
        header = (
            'OAuth oauth_version="1.0", oauth_signature_method="PLAINTEXT", '
            f'oauth_consumer_key="{consumer}", oauth_token="{token}", '
            f'oauth_signature="%26{secret}"'
        )
        answer = requests.request(
            method,
            f"{self.web}MAAS/api/2.0/{path}",
            data=form,
            files=files,
            headers={"Authorization": header},
            timeout=30,
        )
        if not answer.ok:
            raise SystemExit(f"{method} {path}: {answer.status_code} {answer.text}")
        is_json = answer.headers["Content-Type"].startswith("application/json")
        return answer.json() if is_json else answer.text


@contextmanager
def slipway(data: Path) -> Iterator[Node]:
    """A Slipway of three processes on a fresh data folder, stopped at the end."""
    step("Starting Slipway")
    node = Node(data)
    data.parent.mkdir(parents=True, exist_ok=True)
    with (data.parent / "slipway.log").open("w") as log:
        process = subprocess.Popen([*SLIPWAY, "run"], env=node.env, stdout=log, stderr=log)
        try:
            say(f"pages {node.web}  rack {node.rack}  log {log.name}")
            yield node
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def answers(url: str) -> bool:
    """Whether anything speaks HTTP there."""
    try:
        requests.get(url, timeout=5)
    except requests.RequestException:
        return False
    return True


def wait(what: str, is_done: object, show: object = None) -> None:
    """Look again and again until it is done; gives up in words."""
    last = ""
    for _ in range(PATIENCE_S * 4):
        if is_done():
            return
        line = show() if show else ""
        if line and line != last:
            say(line)
            last = line
        time.sleep(0.25)
    raise SystemExit(f"{what} wasn't ready within {PATIENCE_S} s; see build/demo/slipway.log")


def with_quiet_interrupt() -> None:
    """Sleep until Ctrl-C."""
    try:
        signal.pause()
    except KeyboardInterrupt:
        print()


def step(text: str) -> None:
    """Print a headline."""
    print(f"\n== {text}", flush=True)


def say(text: str) -> None:
    """Print a detail."""
    print(f"   {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
