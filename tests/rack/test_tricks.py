# SPDX-License-Identifier: Apache-2.0
"""Ten thousand ways to ask for what is not published, none of which gets anything."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator

from flask.testing import FlaskClient

from tests.rack import images
from tests.rack.conftest import BASE

NUMBER = 10_000
SECRETS = ("secret.key", "slipway.db", "etc/passwd", "proc/self/environ", "store/SLIPWAY-STORE")
CLIMBS = (
    "../", "..%2f", "%2e%2e/", "%2e%2e%2f", "..%252f", "%252e%252e%252f", "..\\", "..%5c",
    "....//", "..;/", ".%00./", "..%00/", "%c0%ae%c0%ae/", "%c0%ae%c0%ae%c0%af", "..%c1%9c",
    "%uff0e%uff0e/", "\u2024\u2024/", "./", "%2e/", "//", "/%2f", "..//", "..%0d%0a/", "~/",
)  # fmt: skip


def tricks() -> Iterator[str]:
    """Paths that are no published name, first the known ones, then damaged good names."""
    for climb, depth, secret in itertools.product(CLIMBS, range(1, 9), SECRETS):
        for start in ("/", "/images/", f"{BASE}/", f"{BASE}/20260105/"):
            yield start + climb * depth + secret
    good = [f"{BASE}/{name}" for name in images.FILES] + [f"{BASE}/20260105/squashfs"]
    dice = random.Random(9110)
    alphabet = [*"/.%\\;?#:~*\x00\x01\n\r\t \x7f\xff\u00df\u2215", *CLIMBS]
    while True:
        path = dice.choice(good)
        for _ in range(dice.randint(1, 3)):
            at = dice.randint(1, len(path))
            path = path[:at] + dice.choice(alphabet) * dice.choice([1, 1, 2, 700]) + path[at:]
        yield path


def test_10_000_tricks_get_nothing(machine: FlaskClient) -> None:
    contents = set(images.FILES.values())
    files = machine.application.wsgi_app
    statuses: list[str] = []
    served = 0
    for path in itertools.islice(tricks(), NUMBER):
        # As a server hands it over: percent-decoded once, as Latin-1, the query cut off.
        from urllib.parse import unquote_to_bytes

        path_info = unquote_to_bytes(path.partition("?")[0].partition("#")[0]).decode("latin-1")
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path_info, "REMOTE_ADDR": "192.0.2.1"}
        body = files(environ, lambda status, headers: statuses.append(status))
        data = b"".join(body)
        if statuses[-1] == "200 OK":
            # Only where nothing but a query or fragment was added to a good name.
            assert data in contents
            path_info = re.sub("/+", "/", path_info)  # a run of slashes is one
            assert path_info.startswith(f"{BASE}/")
            assert path_info.removeprefix("/images/").count("/") in (5, 6)
            served += 1
        else:
            assert statuses[-1] == "404 Not Found"
            assert data.count(b"\n") == 1
    assert len(statuses) == NUMBER
    assert served < NUMBER / 50
