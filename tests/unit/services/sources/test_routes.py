# SPDX-License-Identifier: Apache-2.0
"""Which proxy a source is reached through."""

from __future__ import annotations

import os
from dataclasses import replace

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
