# SPDX-License-Identifier: Apache-2.0
"""``slipway`` commands in real processes that start at once.

They are forked from a process that has imported the program and done nothing else, so each
saves the second that importing takes. Arguments, variables, terminal, signals and exit code
are those of a process. What is about the start itself runs ``SLIPWAY``.
"""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import multiprocessing
import os
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from multiprocessing.context import ForkServerContext
from multiprocessing.reduction import DupFd
from pathlib import Path

SLIPWAY = Path(sys.executable).parent / "slipway"
PR_SET_PDEATHSIG = 1
Done = subprocess.CompletedProcess[str]
PRELOADED = [
    *("webapp.server.supervisor", "webapp.server.planes", "webapp.server.worker"),
    *("webapp.rack", "webapp.web", "webapp.api"),
    *("psycopg", "sqlalchemy.dialects.postgresql", "sqlalchemy.dialects.sqlite"),
    *("boto3", "botocore.config"),
    *("tests.support.commands", "tests.contract.processes", "requests", "rich.console"),
    *("webapp.cli.main", "webapp.cli.client", "webapp.cli.context", "webapp.api.v1"),
    *("webapp.database", "webapp.services.sources.first_start"),
]


def forkserver() -> ForkServerContext:
    """Where processes of tests are forked from; one for each process of the test run."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def run(
    args: Sequence[str | Path], env: Mapping[str, str], stdin: bytes = b"", timeout: float = 120
) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end without a terminal."""
    with ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
        files[0].write(stdin)
        files[0].seek(0)
        code = _ended(_start(args, env, [file.fileno() for file in files]), timeout)
        for file in files[1:]:
            file.seek(0)
        return subprocess.CompletedProcess(list(args), code, files[1].read(), files[2].read())


class OnTerminal:
    """A command on a terminal of 160 columns; ``screen`` is what a person sees and types into."""

    def __init__(self, args: Sequence[str | Path], env: Mapping[str, str]) -> None:
        self.screen, terminal = os.openpty()
        try:
            fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
            self._process = _start(args, env, [terminal])
        finally:
            os.close(terminal)

    def code(self, timeout: float = 60) -> int:
        """Wait for its end and return the exit code."""
        return _ended(self._process, timeout)


class Started:
    """A command that runs on, to be watched, signalled and waited for as a ``Popen`` is.

    log: where its output goes. death: the signal it gets when the tests are killed.
    """

    def __init__(
        self,
        args: Sequence[str | Path],
        env: Mapping[str, str],
        log: Path,
        death: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.args = ["slipway", *map(str, args)]
        self.returncode: int | None = None
        with open(os.devnull, "rb") as nothing, log.open("ab") as out:
            files = [nothing.fileno(), out.fileno(), out.fileno()]
            self._process = _start(args, env, files, death)
        self.pid = self._process.pid or 0

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        if self.returncode is None and not self._process.is_alive():
            self.returncode = self._process.exitcode
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return the exit code. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


Running = Started | subprocess.Popen[bytes]


def start(
    args: Sequence[str | Path],
    env: Mapping[str, str],
    log: Path,
    death: signal.Signals = signal.SIGTERM,
) -> Running:
    """Start a command that runs on. Benchmarks get the program itself, as `execute` starts it."""
    # What has to be loaded before anything else is loaded by the program's own start.
    if "PYTEST_VERSION" not in os.environ or "LD_PRELOAD" in env:
        return execute(args, env, log, death)
    return Started(args, env, log, death)


def execute(
    args: Sequence[str | Path],
    env: Mapping[str, str],
    log: Path,
    death: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start the program as people do, which takes a second longer."""
    command = ["setpriv", "--pdeathsig", death.name[3:], "--", str(SLIPWAY), *map(str, args)]
    with log.open("ab") as out:
        return subprocess.Popen(
            command, env=dict(env), stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )


def _start(
    args: Sequence[str | Path], env: Mapping[str, str], fds: Sequence[int], death: int = 0
) -> multiprocessing.process.BaseProcess:
    arguments = ([str(arg) for arg in args], dict(env), [_Passed(fd) for fd in fds], death)
    process = forkserver().Process(target=_command, args=arguments, daemon=True)
    process.start()
    return process


class _Passed:
    """A file descriptor that the new process gets."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __reduce__(self) -> tuple[object, ...]:
        return _detached, (DupFd(self.fd),)


def _detached(duplicate: object) -> int:
    return int(duplicate.detach())  # type: ignore[attr-defined]


def _ended(process: multiprocessing.process.BaseProcess, timeout: float) -> int:
    process.join(timeout)
    code = process.exitcode
    if code is None:
        process.kill()
        process.join()
        raise AssertionError(f"a command did not end within {timeout:.0f} s")
    process.close()
    return code


def _command(args: list[str], env: dict[str, str], fds: list[int], death: int) -> None:
    """Be ``slipway ARGS``, with the files as Python opens them for a program."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death, 0, 0, 0)
    if len(fds) == 1:
        os.login_tty(fds[0])
    else:
        for number, fd in enumerate(fds):
            os.dup2(fd, number)
            os.close(fd)
    is_unbuffered = os.isatty(1) or "PYTHONUNBUFFERED" in env
    sys.stdin = open(0, closefd=False)
    sys.stdout = open(1, "w", buffering=1 if is_unbuffered else -1, closefd=False)
    sys.stderr = open(2, "w", buffering=1, closefd=False, errors="backslashreplace")
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    sys.argv = ["slipway", *args]
    from webapp.cli.main import main

    try:
        main()
    finally:
        atexit._run_exitfuncs()
