# SPDX-License-Identifier: Apache-2.0
"""The output edge of the command line: hostile text, full disks, closed streams, Ctrl-C."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
from typing import Any

import click
import pytest

from tests.support.live import SLIPWAY
from webapp.cli import imports, output
from webapp.config import ROOT

HOSTILE = "a\x1b]0;owned\x07b\r\x9b31mc\u202ed\u2066e\u200bf\u2028g\nh\x7f\udc80"
SAFE = r"a\x1b]0;owned\x07b\r\x9b31mc\u202ed\u2066e\u200bf\u2028g\nh\x7f\udc80"
PRINTERS = re.compile(r"\bclick\.(s?echo|prompt|confirm|progressbar)\(|\bprint\(|sys\.std(out|err)")


def test_what_a_terminal_would_act_on_is_escaped() -> None:
    assert output.visible(HOSTILE) == SAFE
    for plain in ("", "ubuntu/noble", "Größe 27.4\u00a0MB", "日本語 ✓"):
        assert output.visible(plain) == plain
    for code in (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)):
        assert output.visible(chr(code)).isascii()
        assert output.visible(chr(code)).isprintable()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_every_way_to_print_text_escapes_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output.line(HOSTILE)
    output.line(HOSTILE, color="red")
    output.lines([HOSTILE])
    output.error(HOSTILE)
    output.result({}, False, HOSTILE)
    output.print_table(("Name", "Title"), [(HOSTILE, HOSTILE)])
    output.print_table(("Name",), [], empty=HOSTILE)
    output.print_fields([(HOSTILE, HOSTILE)])
    output.print_json({"title": HOSTILE})
    output.print_json_line({"title": HOSTILE})
    output.usage_error(click.UsageError(HOSTILE))
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    with pytest.raises(click.Abort):
        output.confirm(HOSTILE)
    for text in capsys.readouterr():
        assert text.replace("\n", "").isprintable()
        assert SAFE in text


def test_a_bar_escapes_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    seen: list[Any] = []
    monkeypatch.setattr("rich.progress.Progress.update", lambda *_, **new: seen.append(new))
    with output.progress(HOSTILE, 10) as advance:
        advance(1, 10, HOSTILE)
    assert seen[0]["description"] == SAFE


def test_only_the_output_edge_prints() -> None:
    printing = [
        f"{path.name}: {found[0]}"
        for path in (ROOT / "webapp" / "cli").glob("*.py")
        if path.name != "output.py"
        for found in PRINTERS.finditer(path.read_text())
    ]
    assert printing == []


def run(*words: str | bytes, stdout: Any = subprocess.PIPE) -> tuple[int, bytes]:
    """Exit code and stderr of a command."""
    done = subprocess.run(
        [SLIPWAY, *words],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")},
        timeout=60,
        check=False,
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    assert b"Exception" not in done.stderr, done.stderr.decode()
    return done.returncode, done.stderr


def test_hostile_words_on_the_command_line_come_back_escaped() -> None:
    for words in (
        ["\x1b[31m"],
        ["--\x1b[31m\u202e"],
        ["inspect", "no\x1b[31m.gz"],
        ["inspect", b"no\xff.gz"],
        ["verify", "no\x1b[31m", "--keyring", "k\u202e"],
        ["esxi", "plan", "no\x1b[31m"],
        ["esxi", "plan", "/dev/null", "--nic", "\x1b[31m"],
    ):
        code, err = run(*words)  # type: ignore[arg-type]
        assert code in (1, 2)
        assert err.decode().replace("\n", "").isprintable(), err


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        ["source", "--help"],
        ["setting"],
        ["setting", "--json"],
        ["completion", "bash"],
        ["esxi", "storage", "--version", "8", "--disk-gib", "480"],
        ["verify", "{index}", "--keyring", "{keyring}"],
    ],
    ids=" ".join,
)
def test_output_that_cannot_be_written_is_a_sentence(words: list[str], shared_mirror: Any) -> None:
    places = {
        "index": str(shared_mirror.stream / "streams/v1/index.sjson"),
        "keyring": str(shared_mirror.keyring),
    }
    with open("/dev/full", "wb") as full:
        code, err = run(*(word.format(**places) for word in words), stdout=full)
    assert code == 1
    assert err == b"slipway: The output couldn't be written: No space left on device.\n"


def test_a_closed_stdout_is_no_fault() -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f"{SLIPWAY} setting >&-"], capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_signed_bytes_are_exact_in_a_pipe_and_visible_on_a_terminal(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b'{"title": "\x1b[31m"}\n'
    output.print_bytes(content)
    output.finish(0)
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w") as screen, monkeypatch.context() as patched:
        patched.setattr("sys.stdout", screen)
        output.print_bytes(content)
        screen.flush()
        assert b"\x1b" not in os.read(leader, 1000)
    os.close(leader)


class Importing:
    """An API whose import never ends; Ctrl-C comes while it is watched."""

    def get(self, path: str, **query: Any) -> Any:
        files = [
            {"filename": "boot-kernel", "state": "done"},
            {"filename": "squashfs", "state": "downloading"},
        ]
        return {
            "id": 3, "is_active": True, "phase": "downloading", "state": "running",
            "bytes_total": 10, "bytes_done": 10, "images": [{"files": files}],
        }  # fmt: skip


def test_ctrl_c_while_watching_says_that_the_import_continues(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(imports.time, "sleep", interrupt)
    with pytest.raises(click.Abort, match="Import 3 continues; to stop it: slipway import stop"):
        imports._follow(Importing(), 3, False)  # type: ignore[arg-type]


def test_the_bar_names_phase_and_file() -> None:
    assert imports._activity(Importing().get("")) == "Downloading 1/2 files squashfs"
    assert imports._activity({"phase": ""}) == "Queued"
    assert imports._activity({"phase": "", "hold": "window"}) == "Paused until a window opens"


def test_the_plan_counts_what_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    same = {"architecture": "amd64", "version": "1", "why": "up to date"}
    kept = [{"name": f"n{i}", **same} for i in range(248)]
    plan = {
        "fetch": [],
        "retire": [],
        "wait": [],
        "later": [],
        "keep": kept,
        "out": [],
        "refuse": [],
        **dict.fromkeys(("bytes_to_fetch", "bytes_held", "bytes_used", "bytes_peak"), 0),
        **dict.fromkeys(("bytes_final", "bytes_free", "bytes_lacking"), 0),
    }

    class Planning:
        def get(self, path: str, **query: Any) -> Any:
            return plan

    show = getattr(imports.show_plan.callback, "__wrapped__")  # noqa: B009
    show(everything=False, api=Planning(), as_json=False)
    shown = capsys.readouterr().out
    assert shown.splitlines()[:2] == [
        "Kept: 248 images; --all lists them.",
        "To download: 0 bytes",
    ]
    show(everything=True, api=Planning(), as_json=False)
    assert capsys.readouterr().out.count("\nkeep") == 248
    show(everything=False, api=Planning(), as_json=True)
    assert len(json.loads(capsys.readouterr().out)["keep"]) == 248
