# SPDX-License-Identifier: Apache-2.0
"""A private S3 server for tests, SeaweedFS: on 127.0.0.1, in a temporary folder."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.support.ports import HOST, keep_port
from webapp.storage.bucket import MIN_PART, BucketOptions

PROGRAM = Path(sys.executable).with_name("weed")
ACCESS_KEY = "AKIATESTSLIPWAY"
SECRET_KEY = "secret-of-the-test-bucket"
READER_KEY, READER_SECRET = "AKIATESTREADER", "secret-of-the-reader"
_PORTS = ("master.port", "volume.port", "filer.port", "s3.port")
_OPTIONS = (
    "-master.telemetry=false",
    "-master.volumeSizeLimitMB=64",
    "-s3.iam=false",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-volume.max=500",
)
PATIENCE_S = 60


class NoObjectServer(RuntimeError):
    """The server isn't installed or doesn't start."""


class ObjectServer:
    """A running server; a context manager. It dies with the process that made it."""

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="slipway-s3-", dir="/tmp"))
        identities = [
            _identity("writer", ACCESS_KEY, SECRET_KEY, ["Admin", "Read", "Write", "List"]),
            _identity("reader", READER_KEY, READER_SECRET, ["Read", "List"]),
        ]
        (self.folder / "s3.json").write_text(json.dumps({"identities": identities}))
        (self.folder / "data").mkdir()
        self.ports = {name: keep_port() for port in _PORTS for name in (port, f"{port}.grpc")}
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Start it, on the same ports each time, and wait until it takes objects."""
        command = ["setpriv", "--pdeathsig", "KILL", "--", str(PROGRAM), "-logtostderr=true"]
        command += ["server", f"-dir={self.folder / 'data'}", f"-ip={HOST}", f"-ip.bind={HOST}"]
        command += ["-filer", "-s3", f"-s3.config={self.folder / 's3.json'}", *_OPTIONS]
        command += [f"-{name}={port}" for name, port in self.ports.items()]
        log = self.folder / "log"
        with log.open("ab") as stream:
            self._server = subprocess.Popen(
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
            )
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end and self._server.poll() is None:
            if self._is_ready():
                return
            time.sleep(0.05)
        raise NoObjectServer(f"weed did not start: {log.read_text()[-500:]}")

    def stop(self) -> None:
        """Kill it: it would take half a minute to leave by itself."""
        server = self.__dict__.pop("_server", None)
        if server is not None:
            server.kill()
            server.wait()

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://{HOST}:{self.ports['s3.port']}"

    def client(self, **values: Any) -> Any:
        """boto3 alone, as an administrator of the buckets."""
        return boto3.session.Session(ACCESS_KEY, SECRET_KEY).client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, **values),
        )

    def place(self) -> BucketOptions:
        """A prefix of its own in the bucket of the tests."""
        return BucketOptions(
            endpoint=self.endpoint,
            bucket="slipway",
            prefix=f"test-{secrets.token_hex(6)}",
            access_key=ACCESS_KEY,
            secret_key=SECRET_KEY,
            part=MIN_PART,
        )

    def _is_ready(self) -> bool:
        client = self.client(retries={"total_max_attempts": 1}, connect_timeout=1)
        try:
            buckets = [bucket["Name"] for bucket in client.list_buckets().get("Buckets", ())]
            if "slipway" not in buckets:
                client.create_bucket(Bucket="slipway")
            client.put_object(Bucket="slipway", Key="ready", Body=b"yes")
        except (BotoCoreError, ClientError):
            return False
        finally:
            client.close()
        return True


def _identity(name: str, access: str, secret: str, actions: list[str]) -> dict[str, Any]:
    credentials = [{"accessKey": access, "secretKey": secret}]
    return {"name": name, "credentials": credentials, "actions": actions}


def environ(options: BucketOptions) -> dict[str, str]:
    """The settings that mean this place, as their names after ``SLIPWAY_``, in lower case."""
    return {
        "store": "s3",
        "s3_endpoint": options.endpoint,
        "s3_bucket": options.bucket,
        "s3_prefix": options.prefix,
        "s3_access_key": options.access_key,
        "s3_secret_key": options.secret_key,
        "s3_part_mb": "5",
    }
