# SPDX-License-Identifier: Apache-2.0
"""Nothing in a test reaches another machine: connections and look-ups are held back."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest

LOCAL_NAMES = {"localhost", "ip6-localhost", socket.gethostname()}


def is_local(host: object) -> bool:
    """Whether a host is this machine: a loopback address or a name for it."""
    if not isinstance(host, str):
        return host is None
    if host in LOCAL_NAMES or host == "":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


@contextmanager
def loopback_only() -> Iterator[None]:
    """Fail the test that connects elsewhere; other names cannot be resolved."""
    real_connect, real_connect_ex = socket.socket.connect, socket.socket.connect_ex
    real_resolve = socket.getaddrinfo

    def check(sock: socket.socket, address: Any) -> None:
        if sock.family in (socket.AF_INET, socket.AF_INET6) and not is_local(address[0]):
            pytest.fail(f"a test tried to connect to {address[0]}", pytrace=True)

    def connect(sock: socket.socket, address: Any) -> None:
        check(sock, address)
        real_connect(sock, address)

    def connect_ex(sock: socket.socket, address: Any) -> int:
        check(sock, address)
        return real_connect_ex(sock, address)

    def resolve(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if not is_local(name) and not _is_address(name):
            raise socket.gaierror(socket.EAI_NONAME, "tests resolve no names but localhost")
        return real_resolve(host, *args, **kwargs)

    with (
        mock.patch.object(socket.socket, "connect", connect),
        mock.patch.object(socket.socket, "connect_ex", connect_ex),
        mock.patch.object(socket, "getaddrinfo", resolve),
    ):
        yield


def _is_address(host: object) -> bool:
    try:
        ipaddress.ip_address(str(host).partition("%")[0])
    except ValueError:
        return False
    return True
