# SPDX-License-Identifier: Apache-2.0
"""What a pull keeps: boot loaders with any filter, and files that others still read."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.mirror.server import MirrorServer
from tests.support.signed import SigningKey
from tests.unit.stream_shapes.published import LATER, NOBLE, Stream
from webapp.cli.mirror import mirror_group

LOADER = "com.example.maas.stable:1:pxelinux:pxe:amd64"


@pytest.fixture
def stream(tmp_path: Path, signing_key: SigningKey) -> Stream:
    found = Stream(tmp_path / "upstream", signing_key)
    found.products = {NOBLE: found.ubuntu(), LOADER: found.loader("amd64")}
    (tmp_path / "key.gpg").write_bytes(signing_key.public)
    return found.publish()


def run(stream: Stream, *args: str, keys: bool = True) -> Result:
    folder = stream.root.parent
    keyring = ["--keyring", str(folder / "key.gpg")] if keys else []
    with MirrorServer(stream.root) as server:
        command = ["pull", server.url, str(folder / "local"), *keyring, *args]
        return CliRunner().invoke(mirror_group, command)


def have(stream: Stream) -> set[str]:
    local = stream.root.parent / "local"
    names = {path.name for path in local.rglob("*") if path.is_file()}
    return names & {"boot-kernel", "boot-initrd", "squashfs", "syslinux.tar.xz"}


UBUNTU = {"boot-kernel", "boot-initrd", "squashfs"}


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--filter", "os=ubuntu"], UBUNTU | {"syslinux.tar.xz"}),
        (["--filter", "ftype=squashfs"], {"squashfs", "syslinux.tar.xz"}),
        (["--filter", "arch=amd64", "--filter", "release!=jammy"], UBUNTU | {"syslinux.tar.xz"}),
        (["--filter", "os=ubuntu", "--no-loaders"], UBUNTU),
        (["--filter", "bootloader-type="], UBUNTU),
        (["--filter", "bootloader-type=pxe"], {"syslinux.tar.xz"}),
        (["--filter", "os~(grub*|pxelinux)"], {"syslinux.tar.xz"}),
        ([], UBUNTU | {"syslinux.tar.xz"}),
    ],
    ids=lambda words: " ".join(sorted(words)),
)
def test_boot_loaders_come_along_by_default(
    stream: Stream, args: list[str], expected: set[str]
) -> None:
    assert run(stream, *args).exit_code == 0
    assert have(stream) == expected


def test_filters_that_match_loaders_by_chance_only_still_match_nothing(stream: Stream) -> None:
    assert run(stream, "--filter", "os=ubunut").exit_code != 0
    assert have(stream) == set()


def unwanted_since(stream: Stream, change: timedelta) -> None:
    """Make all that isn't wanted so for longer, as if time had passed."""
    path = stream.root.parent / "local/.slipway/state.json"
    state = json.loads(path.read_text())
    state["unwanted"] = {
        name: (datetime.fromisoformat(since) - change).isoformat()
        for name, since in state["unwanted"].items()
    }
    path.write_text(json.dumps(state))


def test_files_that_others_read_are_removed_after_a_while(stream: Stream) -> None:
    assert run(stream).exit_code == 0
    del stream.products[LOADER]
    stream.dates = {"updated": LATER}
    stream.publish()
    day = ("--prune-after", "24h")
    for _ in range(2):
        assert "No longer wanted: 1 file" in run(stream, *day).output
        assert "syslinux.tar.xz" in have(stream)
    unwanted_since(stream, timedelta(hours=23))
    assert run(stream, *day).exit_code == 0
    assert "syslinux.tar.xz" in have(stream)
    unwanted_since(stream, timedelta(hours=1))
    assert "Removed 1 file" in run(stream, *day).output
    assert have(stream) == UBUNTU
    assert "emoved" not in run(stream, *day).output


def test_what_is_wanted_again_starts_over(stream: Stream) -> None:
    assert run(stream).exit_code == 0
    narrow = ("--filter", "os=ubuntu", "--no-loaders", "--prune-after", "1h")
    assert run(stream, *narrow).exit_code == 0
    unwanted_since(stream, timedelta(hours=2))
    assert run(stream).exit_code == 0
    assert run(stream, *narrow).exit_code == 0
    assert "syslinux.tar.xz" in have(stream)


@pytest.mark.parametrize("text", ["", "24", "h", "-1h", "24 h", "1w", "1e9s"])
def test_a_time_that_is_none_is_refused(stream: Stream, text: str) -> None:
    found = run(stream, "--prune-after", text)
    assert found.exit_code == 2
    assert "isn't a time" in found.output
    assert have(stream) == set()


def test_options_that_contradict_each_other_are_refused(stream: Stream) -> None:
    assert run(stream, "--prune", "--prune-after", "1h").exit_code == 2
    assert run(stream, "--unsigned").exit_code == 2
    assert run(stream, keys=False).exit_code == 2


def test_an_unsigned_stream_is_mirrored_on_request(stream: Stream) -> None:
    found = run(stream, "--unsigned", keys=False)
    assert found.exit_code == 0
    assert "not signed" in found.output


def test_a_mirror_edited_by_hand_is_mirrored_once_confirmed(stream: Stream) -> None:
    gone = NOBLE.replace("24.04", "22.04")
    stream.listed = [NOBLE, LOADER, gone]
    stream.publish()
    assert run(stream).exit_code != 0
    assert run(stream, "--confirm", gone).exit_code == 0
    assert have(stream) == UBUNTU | {"syslinux.tar.xz"}
