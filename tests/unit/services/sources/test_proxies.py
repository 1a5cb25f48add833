# SPDX-License-Identifier: Apache-2.0
"""The login of a proxy: used, kept encrypted, and in nothing that anyone reads."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy import text

from tests.support import signed
from webapp.config import Settings
from webapp.errors import InvalidFields, Problem
from webapp.extensions import db
from webapp.services.overview import health, status
from webapp.services.sources import refreshing, sources
from webapp.services.sources.drafts import SourceDraft
from webapp.services.system import live_settings, proxies, secrets

CANARY = "ge%40heim"


@pytest.fixture
def closed() -> Iterator[str]:
    """The address of a port where no one listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("", ""),
        ("http://p:3128/", "http://p:3128/"),
        ("http://me:secret@p:3128", "http://me:***@p:3128"),
        ("http://me:se:c@ret@[::1]:3128/", "http://me:***@[::1]:3128/"),
        ("https://token@p", "https://***@p"),
        ("http://token:@p", "http://***@p"),
        ("me:secret@p", "me:***@p"),
        ("socks5://me:secret@p", "socks5://me:***@p"),
    ],
)
def test_an_address_is_taken_apart_and_put_together(address: str, shown: str) -> None:
    masked, login = proxies.split(address)
    assert (masked, proxies.shown(masked)) == (shown, shown)
    assert proxies.join(masked, login) == address
    assert proxies.is_masked(masked) is bool(login)
    assert not proxies.is_masked(address)


@pytest.mark.parametrize(
    "address",
    ["p:3128", "http://", "http://p:0", "http://p/x", "http://p?x", "http://p#x", "http://p p",
     "http://me:1/x@p", "http://p\r\nX: y", "ftp://p", "http://[::1"],
)  # fmt: skip
def test_what_cannot_be_a_proxy_is_refused_without_repeating_it(address: str) -> None:
    assert not proxies.is_proxy(address)


def test_a_login_is_in_nothing_that_anyone_reads(
    region: Flask,
    closed: str,
    signing_key: signed.SigningKey,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    proxy = f"http://me:{CANARY}@{closed}/"
    draft = SourceDraft(
        url="http://mirror.example/", keyring_data=signing_key.public, proxy_url=proxy
    )
    with pytest.raises(Problem) as caught:
        sources.connect(draft)
    source = sources.add(draft, "ada")
    sources.switch(source, True, "ada")
    with contextlib.suppress(Problem):
        refreshing.refresh(source)
    live_settings.change("http_proxy", proxy, "ada")
    assert live_settings.proxy_for_sources() == proxy
    assert sources.draft_of(source).proxy_url == proxy
    tables = db.metadata.sorted_tables
    rows = [str(db.session.execute(table.select()).all()) for table in tables]
    shown = [
        json.dumps(caught.value.as_dict()),
        str(caught.value),
        repr(draft),
        repr(sources.get(source.id).__dict__),
        str(health.run_checks()),
        str(status.overview()),
        str(live_settings.read_all()),
        caplog.text,
        "".join(capfd.readouterr()),
        *rows,
    ]
    assert source.error_what
    assert [text[:200] for text in shown if CANARY in text or "geheim" in text] == []


def test_with_another_secret_key_the_password_is_asked_for_again(
    region: Flask, settings: Settings
) -> None:
    live_settings.change("http_proxy", "http://me:secret@p:1", "ada")
    row = db.session.execute(text("SELECT value FROM setting WHERE key = 'http_proxy_login'"))
    assert "secret" not in str(row.scalar_one())
    other = secrets.seal("x")[:-8] + "AAAAAAA="
    db.session.execute(
        text("UPDATE setting SET value = :value WHERE key = 'http_proxy_login'"),
        {"value": json.dumps(other)},
    )
    db.session.commit()
    assert live_settings.read("http_proxy") == "http://me:***@p:1"
    with pytest.raises(secrets.SecretProblem):
        live_settings.proxy_for_sources()
    live_settings.change("http_proxy", "http://me:fresh@p:1", "ada")
    assert live_settings.proxy_for_sources() == "http://me:fresh@p:1"
    with pytest.raises(InvalidFields, match="again"):
        live_settings.change("http_proxy", "http://you:***@p:1", "ada")
