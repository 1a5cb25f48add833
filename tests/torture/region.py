# SPDX-License-Identifier: Apache-2.0
"""A whole Slipway with machines at it, to be tormented and judged."""

from __future__ import annotations

import hashlib
import http.client
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Self

from flask import Flask
from sqlalchemy import select

from tests.e2e.uploads.disk import raw_disk
from tests.jobs.conftest import Lab
from tests.mirror.faults import Fault
from tests.mirror.maker import make_mirror
from tests.mirror.server import MirrorServer
from tests.support import signed
from tests.support.live import HOST, SLIPWAY, LiveSlipway
from webapp import create_app
from webapp.config import Settings
from webapp.extensions import db
from webapp.models import Blob, BlobState, BootResource, ResourceFile
from webapp.services.imports import runs
from webapp.services.system.wake import wake

FOLDER = "images/ubuntu/amd64/ga-24.04/noble/stable"
FILES = ("boot-kernel", "boot-initrd", "squashfs")
SILENCE_S = 30.0  # a machine that waits so long for a byte has been forgotten
SEND_BUFFER = 64 << 10  # bytes; the kernel's own choice on this machine is megabytes
RATE = 4 << 20  # bytes per second of one download, so that there is a middle to be hit in


class Machines(threading.Thread):
    """Machines that fetch all the time and judge every byte they get."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._is_over = threading.Event()
        self.seen: Counter[str] = Counter()
        self.digests: set[str] = set()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._is_over.set()
        self.join()

    def run(self) -> None:
        while not self._is_over.wait(0.02):
            for name in FILES:
                self.seen[self._fetch(name)] += 1

    def _fetch(self, name: str) -> str:
        """``complete`` bytes are judged; ``cut`` ones the machine notices by itself.

        ``silent`` is an answer that neither goes on nor ends.
        """
        connection = http.client.HTTPConnection(HOST, self._port, timeout=SILENCE_S)
        with closing(connection):
            try:
                connection.request("GET", f"/{FOLDER}/{name}")
                answer = connection.getresponse()
                body = answer.read()
            except TimeoutError:
                return "silent"
            except (OSError, http.client.HTTPException):
                return "cut"
        if answer.status != 200:
            return f"status {answer.status}"
        digest = hashlib.sha256(body).hexdigest()
        self.digests.add(digest)
        return "complete" if answer.headers["ETag"] == f'"{digest}"' else "corrupt"


@contextmanager
def inside(slipway: LiveSlipway) -> Iterator[Flask]:
    """The region's database and store, from this process."""
    app = create_app(Settings.load(slipway.env), plane="none")
    with app.app_context():
        yield app
        db.session.remove()
        db.engine.dispose()


@contextmanager
def slow_lab(folder: Path, key: signed.SigningKey) -> Iterator[Lab]:
    """A mirror that sends slowly, and a source for it in the current region."""
    mirror = make_mirror(
        folder,
        key,
        releases=("noble",),
        arches=("amd64",),
        kernels=1,
        loaders=False,
        centos=False,
        notification=False,
        sizes={"squashfs": 6 << 20, "boot-initrd": 1 << 20},
    )
    with MirrorServer(mirror) as server:
        # What waits in here counts as sent, however little of it the worker has read.
        server.listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        server.set_faults([Fault(path="(squashfs|initrd)$", rate=RATE)])
        yield Lab(mirror, server)


class Upload:
    """``slipway upload`` of a file of its own, as a person starts it."""

    def __init__(self, slipway: LiveSlipway, folder: Path, number: int, size: int) -> None:
        self._name = f"n{number}"
        file = folder / f"{self._name}.raw"
        data = bytearray(raw_disk(size))
        data[5 << 20 : (5 << 20) + 8] = number.to_bytes(8, "big")
        file.write_bytes(data)
        self.digest = hashlib.sha256(data).hexdigest()
        self._process = subprocess.Popen(
            [SLIPWAY, "upload", file, "--name", self._name, "--filetype", "ddraw",
             "--url", slipway.web_url, "--token-file", folder / "token"],
            env=slipway.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self._file = file

    def finish(self) -> None:
        """Wait for its end, which has to be a good one."""
        output, _ = self._process.communicate(timeout=240)
        assert self._process.returncode == 0, output.decode()
        self._file.unlink()


def publish(lab: Lab) -> None:
    """Publish the next build; documents may not say that they are of the future."""
    lab.mirror.publish_next(after=timedelta(minutes=1), prune=True)


def import_all(lab: Lab) -> dict[str, int]:
    """Publish a build and queue its import; returns what it has to bring."""
    publish(lab)
    runs.queue("manual", "ann")
    wake()
    return lab.wanted(release="noble")


def is_idle() -> bool:
    db.session.rollback()
    return runs.current() is None


def last_state() -> str:
    """How the last import ended."""
    db.session.rollback()
    run = runs.last_ended()
    assert run is not None
    db.session.refresh(run)
    return str(run.state)


def held() -> set[str]:
    """The digests that names mean and whose bytes are ready."""
    db.session.rollback()
    query = (
        select(Blob.sha256)
        .join(ResourceFile, ResourceFile.blob_id == Blob.id)
        .join(BootResource, BootResource.current_set_id == ResourceFile.set_id)
        .where(Blob.state == BlobState.READY)
    )
    return set(db.session.scalars(query))
