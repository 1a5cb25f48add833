# SPDX-License-Identifier: Apache-2.0
"""Which proxy a source is reached through."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from typing import Any

import pytest

from tests.mirror.maker import Mirror
from tests.mirror.server import MirrorServer
from webapp.errors import InvalidFields
from webapp.services.sources import refreshing, sources
from webapp.services.sources.drafts import SourceDraft
from webapp.services.system import live_settings
from webapp.services.system.exemptions import is_exempt, parse


@pytest.mark.parametrize(
    ("entries", "url", "expected"),
    [
        ("", "http://mirror.lab/", False),
        ("", "http://localhost:8000/", True),
        ("", "http://127.0.0.9/", True),
        ("", "http://[::1]/", True),
        (".lab", "http://mirror.lab/", True),
        ("lab", "http://a.mirror.lab./", True),
        ("lab", "http://mirrorlab/", False),
        ("MIRROR.lab other", "http://mirror.lab/", True),
        ("10.0.0.0/8,fd00::/8", "http://10.1.2.3:80/", True),
        ("10.0.0.0/8,fd00::/8", "http://[fd00::1]/", True),
        ("10.0.0.0/8", "http://11.1.2.3/", False),
        ("10.1.2.3", "http://10.1.2.3/", True),
        ("*", "https://images.maas.io/", True),
    ],
    ids=str,
)
def test_hosts_are_exempt_as_in_no_proxy(entries: str, url: str, expected: bool) -> None:
    assert is_exempt(url, parse(entries)) is expected


@pytest.mark.parametrize("text", ["http://x/", "a b/c", "10.0.0.0/33", "x" * 300])
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="isn't a host"):
        parse(text)


@pytest.mark.usefixtures("region")
def test_the_route_is_the_one_that_is_taken(shared_mirror: Mirror) -> None:
    with MirrorServer(shared_mirror) as proxy:
        key = shared_mirror.keyring.read_bytes()
        draft = SourceDraft(url=f"http://mirror.invalid/{proxy.path}", keyring_data=key)
        source = sources.add(draft, "ada")
        address = f"http://u:geheim@{proxy.url.split('/')[2]}/"
        live_settings.change("http_proxy", address, "ada")
        environment = dict(os.environ)
        assert refreshing.refresh(source).problem is None  # only the proxy knows this host
        route = sources.route_of(source)
        assert route.endswith("the proxy of the settings")
        assert "geheim" not in route
        sources.update_source(source, replace(sources.draft_of(source), is_direct=True), "ada")
        assert sources.route_of(source) == "directly"
        problem = refreshing.refresh(source).problem
        assert problem is not None
        assert problem.code == "http-connection"
        sources.update_source(source, replace(sources.draft_of(source), is_direct=False), "ada")
        live_settings.change("import_no_proxy", "other.lab, .invalid", "ada")
        assert sources.route_of(source) == "directly"
        with pytest.raises(InvalidFields):
            live_settings.change("import_no_proxy", "http://x/", "ada")
        own = sources.add(replace(draft, url=proxy.source_url), "ada")
        assert sources.route_of(own) == "directly"  # this server itself
        proxy.reset()
        assert refreshing.refresh(own).problem is None
        assert all(request.path.startswith("/") for request in proxy.log)
        assert dict(os.environ) == environment
        own = replace(sources.draft_of(source), proxy_url=address, is_direct=True)
        with pytest.raises(InvalidFields):
            sources.update_source(source, own, "ada")


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> str:
    """A host name that leads to this machine and isn't exempt from proxies."""
    real, name = socket.getaddrinfo, "mirror.lab"

    def resolve(host: str, *args: Any, **kwargs: Any) -> Any:
        return real("127.0.0.1" if host == name else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return name


@pytest.mark.usefixtures("region")
@pytest.mark.parametrize(
    ("setting", "value"), [("enable_http_proxy", "false"), ("boot_images_no_proxy", "true")]
)
def test_a_proxy_that_is_turned_off_gets_no_request(
    shared_mirror: Mirror, named: str, setting: str, value: str
) -> None:
    with MirrorServer(shared_mirror) as origin, MirrorServer(shared_mirror) as proxy:
        url = origin.source_url.replace("127.0.0.1", named)
        key = shared_mirror.keyring.read_bytes()
        source = sources.add(SourceDraft(url=url, keyring_data=key), "ada")
        live_settings.change("http_proxy", proxy.url, "ada")
        environment = dict(os.environ)
        assert refreshing.refresh(source).problem is None
        assert (len(proxy.log) > 0, origin.log) == (True, [])
        assert {request.path.startswith(url) for request in proxy.log} == {True}
        proxy.reset()
        live_settings.change(setting, value, "ada")
        assert refreshing.refresh(source).problem is None
        assert (len(origin.log) > 0, proxy.log) == (True, [])
        assert dict(os.environ) == environment
