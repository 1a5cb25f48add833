# SPDX-License-Identifier: Apache-2.0
"""nginx beside Slipway in benchmarks: one configuration for all of them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import live
from tests.support.ports import keep_port

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"

CONFIG = """
{user}
daemon off;
worker_processes 2;
worker_rlimit_nofile 65536;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {more}
    server {{
        listen {host}:{port} backlog=2048;
        location / {{ {location} }}
    }}
}}
"""


@contextmanager
def running(folder: Path, location: str, more: str = "") -> Iterator[tuple[str, int]]:
    """An nginx whose files are in an existing folder: its address and process.

    location: what it does with every request. more: further settings of its http block.
    """
    port = keep_port()
    user = "user root;" if os.geteuid() == 0 else ""
    text = CONFIG.format(
        folder=folder, host=live.HOST, port=port, user=user, location=location, more=more
    )
    (folder / "nginx.conf").write_text(text)
    command = [NGINX, "-e", f"{folder}/error.log", "-p", str(folder), "-c", "nginx.conf"]
    process = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", "--", *command])
    try:
        base = f"http://{live.HOST}:{port}"
        live.wait_until(lambda: live.answers(base), "nginx answers")
        yield base, process.pid
    finally:
        process.terminate()
        process.wait()
