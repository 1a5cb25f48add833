# SPDX-License-Identifier: Apache-2.0
"""How commands speak to another machine: over real TLS, with a token that nothing displaces."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.mirror.server import MirrorServer
from tests.support.live import SLIPWAY
from tests.unit.fetch.servers import ca_file, server_context

TOKEN = "slp_token_of_a_test"
Done = subprocess.CompletedProcess[str]


@dataclass
class Other:
    """Another machine's API, which says only that nothing is there. asked: Authorization sent."""

    url: str
    ca: Path
    asked: list[str] = field(default_factory=list)

    def run(self, *words: str, **env: str) -> Done:
        """Ask it for its boot sources."""
        names = {"SLIPWAY_URL": self.url, "SLIPWAY_TOKEN": TOKEN, **env}
        done = subprocess.run(
            [SLIPWAY, "source", "list", "--json", *words],
            env={"PATH": os.environ["PATH"], "HOME": str(self.ca.parent), **names},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in done.stderr
        assert TOKEN not in done.stdout + done.stderr
        return done


@pytest.fixture(params=[30, -1], ids=["valid", "expired"])
def days(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def other(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Other]:
    days = request.getfixturevalue("days") if "days" in request.fixturenames else 30
    found = Other("", ca_file(tmp_path))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked.append(self.headers.get("Authorization", ""))
            body = json.dumps({"items": []}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def handle(self) -> None:
            with suppress(ssl.SSLError):  # a client that does not trust us
                super().handle()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = _wrapped(server_context(tmp_path, days=days), server)
        found.url = f"https://127.0.0.1:{server.server_port}/"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield found
        server.shutdown()
        thread.join()


def _wrapped(context: ssl.SSLContext, server: ThreadingHTTPServer) -> ssl.SSLSocket:
    # The handshake waits for a thread of its own: a client that gives up must not stop the server.
    return context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)


@pytest.mark.parametrize("how", ["option", "variable"])
def test_a_ca_of_ones_own_is_trusted(
    other: Other, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/other.pem")  # what is said here goes first
    ca = str(other.ca)
    words, env = (["--cacert", ca], {}) if how == "option" else ([], {"SLIPWAY_CACERT": ca})
    result = other.run(*words, **env)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == {"items": []}
    assert other.asked == [f"Bearer {TOKEN}"]
    assert "there is no setting" not in result.stderr


def test_an_untrusted_certificate_is_reported_in_words(other: Other, days: int) -> None:
    words = ["--cacert", str(other.ca)] if days < 0 else []
    result = other.run(*words)
    assert result.returncode == 1
    assert "The server's certificate isn't trusted." in result.stderr
    assert ("expired" if days < 0 else "local issuer") in result.stderr
    assert "--cacert" in result.stderr
    assert other.asked == []


def test_a_port_without_tls_is_reported_in_words(other: Other, mirror_server: MirrorServer) -> None:
    plain = Other(mirror_server.url.replace("http://", "https://"), other.ca)
    result = plain.run("--cacert", str(other.ca))
    assert result.returncode == 1
    assert "The TLS connection failed." in result.stderr
    assert "Check that the port speaks HTTPS" in result.stderr


def test_a_file_without_certificates_is_reported_in_words(other: Other, tmp_path: Path) -> None:
    for path in (tmp_path / "missing.pem", tmp_path / "words.pem"):
        (tmp_path / "words.pem").write_text("no certificate")
        result = other.run("--cacert", str(path))
        assert result.returncode in (1, 2)
        assert path.name in result.stderr


def test_the_token_goes_first_whatever_a_netrc_says(other: Other, tmp_path: Path) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("default login ada password secret\n")
    netrc.chmod(0o600)
    result = other.run("--cacert", str(other.ca), NETRC=str(netrc))
    assert result.returncode == 0, result.stderr
    assert other.asked == [f"Bearer {TOKEN}"]
