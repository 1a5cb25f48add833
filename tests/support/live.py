# SPDX-License-Identifier: Apache-2.0
"""A real Slipway for tests, demo and benchmarks: ``slipway run`` with its own processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Self

import pytest

from tests.support import commands, databases
from tests.support.commands import SLIPWAY as SLIPWAY
from tests.support.ports import HOST, keep_port

ROLES = ("web", "rack", "worker")
PATIENCE_S = 120.0  # a bound for what hangs
ADMIN = "admin"
PASSWORD = "correct horse battery staple"


class LiveSlipway:
    """``slipway run`` on ports of its own with a data folder of its own; a context manager.

    env: more SLIPWAY_* values; the defaults are off, so there is no boot source.
    Everything it prints goes to ``<data_dir>/slipway.log``.
    """

    def __init__(self, data_dir: Path, env: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self.web_port, self.rack_port = keep_port(), keep_port()
        self.env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("SLIPWAY_")},
            "SLIPWAY_DATA_DIR": str(data_dir),
            "SLIPWAY_DEFAULTS": "off",
            "SLIPWAY_WEB_BIND": f"{HOST}:{self.web_port}",
            "SLIPWAY_RACK_BIND": f"{HOST}:{self.rack_port}",
            "PYTHONUNBUFFERED": "1",
            **(env or {}),
        }
        self.log = data_dir / "slipway.log"
        self.launch: Callable[..., commands.Running] = commands.start
        self.process: commands.Running | None = None

    @property
    def web_url(self) -> str:
        """Where pages and REST answer."""
        return f"http://{HOST}:{self.web_port}/"

    @property
    def rack_url(self) -> str:
        """Where machines fetch."""
        return f"http://{HOST}:{self.rack_port}/"

    def __enter__(self) -> Self:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start all three processes and wait until web and rack answer, and the worker runs."""
        # The supervisor ends when the tests are killed, and ends its children.
        self.process = self.launch(["run"], self.env, self.log)
        try:
            wait_until(self._is_up, "web and rack answer, and a worker runs", alive=self._is_alive)
        except BaseException as error:
            code = self.process.poll()
            self.stop()
            raise AssertionError(f"{error} (code {code})\n{self.output()[-3000:]}") from error

    def stop(self) -> int | None:
        """End it as Ctrl-C does and return the exit code; None when it did not run."""
        process, self.process = self.process, None
        if process is None:
            return None
        process.send_signal(signal.SIGINT)
        try:
            return process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            for pid in [process.pid, *descendants(process.pid)]:
                kill(pid, signal.SIGKILL)
            process.wait()
            raise AssertionError(f"slipway did not stop\n{self.output()[-3000:]}") from None

    def cli(self, *args: str, stdin: str = "", check: bool = True) -> str:
        """Run ``slipway ARGS`` on the same settings and return what it printed."""
        done = commands.run(args, self.env, stdin.encode())
        if check and done.returncode:
            words = done.stderr.decode()
            raise AssertionError(f"slipway {' '.join(args)}: {done.returncode}\n{words}")
        return done.stdout.decode()

    def pids(self, role: str) -> list[int]:
        """The processes of a role (``web``, ``rack``, ``worker``), its first one first."""
        if role not in ROLES:
            raise ValueError(f"{role}: expected {', '.join(ROLES)}")
        if self.process is None:
            return []
        for child in children(self.process.pid):
            if f"slipway {role}" in command_line(child):
                return [child, *descendants(child)]
        return []

    def kill(self, role: str) -> list[int]:
        """Kill all processes of a role at once (SIGKILL), and return which ones."""
        pids = self.pids(role)
        if not pids:
            raise AssertionError(f"no {role} runs\n{self.output()[-3000:]}")
        for pid in pids:
            kill(pid, signal.SIGKILL)
        return pids

    def wait_for(self, role: str, other_than: list[int]) -> None:
        """Wait until the supervisor has started a role anew."""
        wait_until(
            lambda: bool(self.pids(role)) and not set(self.pids(role)) & set(other_than),
            f"a new {role} process",
            alive=self._is_alive,
        )

    def output(self) -> str:
        """Everything that it printed so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def _is_up(self) -> bool:
        # A child is forked before it has its name, much before on a busy machine.
        named = all(map(self.pids, ROLES))
        return named and answers(self.web_url) and answers(self.rack_url)

    def _is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None


def answers(url: str) -> bool:
    """Whether an HTTP server answers there, whatever it says."""
    try:
        with urllib.request.urlopen(url, timeout=60):
            return True
    except urllib.error.HTTPError as answer:
        answer.close()
        return True
    except OSError:
        return False


def wait_until(
    condition: Callable[[], bool],
    what: str,
    *,
    seconds: float = PATIENCE_S,
    alive: Callable[[], bool] = lambda: True,
) -> None:
    """Wait until the condition holds; fail after a time, or when it cannot hold any more."""
    until = time.monotonic() + seconds
    while not condition():
        if not alive():
            raise AssertionError(f"waited for: {what}; but the process has ended")
        if time.monotonic() > until:
            raise AssertionError(f"waited {seconds:.0f} s for: {what}")
        time.sleep(0.05)


def children(pid: int) -> list[int]:
    """The processes that a process started and that still run, oldest first."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in task.read_text().split()]
        except OSError:
            continue  # the thread ended meanwhile
    return sorted(found)


def descendants(pid: int) -> list[int]:
    """Its children, their children, and so on."""
    return [pid for child in children(pid) for pid in (child, *descendants(child))]


def command_line(pid: int) -> str:
    """What ``ps`` shows of a process; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
    except OSError:
        return ""


def kill(pid: int, how: signal.Signals) -> None:
    """Send a signal to a process that may have ended."""
    try:
        os.kill(pid, how)
    except ProcessLookupError:
        return


@pytest.fixture
def make_live(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., LiveSlipway]]:
    """Start a Slipway for one test: ``make_live({"SLIPWAY_STORE": "database"})``.

    With DB=postgres its database is a PostgreSQL one, unless the test names another.
    """
    started: list[LiveSlipway] = []

    def make(
        env: Mapping[str, str] | None = None,
        launch: Callable[..., commands.Running] = commands.start,
    ) -> LiveSlipway:
        values = {**_database(request), **(env or {})}
        slipway = LiveSlipway(tmp_path_factory.mktemp("live"), values)
        slipway.launch = launch
        started.append(slipway)
        return slipway.__enter__()

    yield make
    for slipway in started:
        slipway.stop()
        shutil.rmtree(slipway.data_dir, ignore_errors=True)


@pytest.fixture(scope="session")
def live(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveSlipway]:
    """A Slipway that all tests share, with the administrator ADMIN and PASSWORD."""
    with LiveSlipway(tmp_path_factory.mktemp("live"), _database(request)) as slipway:
        slipway.cli("admin", "create", ADMIN, "--password-stdin", stdin=PASSWORD)
        yield slipway


def _database(request: pytest.FixtureRequest) -> dict[str, str]:
    """Where a real Slipway keeps its rows; its data folder by default."""
    if databases.default_engine() == "sqlite":
        return {}
    return {"SLIPWAY_DATABASE_URL": request.getfixturevalue("postgres_databases").empty()}
