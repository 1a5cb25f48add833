# SPDX-License-Identifier: Apache-2.0
"""Ports that servers of the tests keep from start to end."""

from __future__ import annotations

import socket

HOST = "127.0.0.1"
_KEPT: list[socket.socket] = []


def keep_port() -> int:
    """A port that belongs to this process until it ends; a server it starts can listen there.

    The port stays bound and is never listened on, so the kernel gives it to no other process
    and to no outgoing connection. A server that sets SO_REUSEADDR may bind it all the same,
    also when it's restarted.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((HOST, 0))
    _KEPT.append(holder)
    return int(holder.getsockname()[1])
