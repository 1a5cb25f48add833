# SPDX-License-Identifier: Apache-2.0
"""What the roles get to see of users, addresses and boot sources."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask

from tests.api.v1.typed import Typed
from tests.support import factories
from webapp.extensions import db
from webapp.models import Event, ImportRun, Role
from webapp.services.sources import sources
from webapp.services.system import proxies, secrets


def test_only_administrators_see_who_signed_in_from_where(
    app: Flask, token_of: Callable[..., Typed]
) -> None:
    rows = (
        ("user.signed_in", "ada", "192.0.2.7"),
        ("access.refused", "ada", "192.0.2.7"),
        ("setting.changed", "ada", "http_proxy"),
        ("run.queued", "ada", "manual"),
        ("image.removed", "ada", "ubuntu noble"),
        ("image.fetched", "10.0.0.9", "ubuntu/amd64"),
    )
    with app.app_context():
        db.session.add_all(Event(kind=k, actor=a, subject=s) for k, a, s in rows)
        db.session.add(ImportRun(trigger="manual", requested_by="ada"))
        db.session.commit()
        factories.boot_source(
            proxy_url="http://p:3128/", auth_username="labuser", keyring_filename="/k.gpg"
        )
        db.session.remove()
    administrator, operator, viewer = (
        token_of(role) for role in (Role.ADMINISTRATOR, Role.OPERATOR, Role.VIEWER)
    )
    narrow = token_of(Role.ADMINISTRATOR, "read")

    def seen(program: Typed, query: str = "") -> list[tuple[str, str]]:
        items = program.get(f"events?{query}")["items"]
        known = {kind for kind, _, _ in rows}
        return [(row["kind"], row["actor"]) for row in items if row["kind"] in known]

    everything = [(kind, actor) for kind, actor, _ in reversed(rows)]
    assert seen(administrator) == everything
    assert seen(operator) == everything[:3]
    for program in (viewer, narrow):
        assert seen(program) == [("image.fetched", "10.0.0.9"), ("image.removed", "")]
        assert seen(program, "kind=user.") == []
        assert seen(program, "actor=ada") == []
        assert seen(program, "actor=10.0.0.9") == [("image.fetched", "10.0.0.9")]
        run = program.get("imports")["items"][0]
        assert run["requested_by"] == program.get(f"imports/{run['id']}")["requested_by"] == ""
        source = program.get("sources")["items"][0]
        assert (source["proxy_url"], source["auth_username"]) == ("", "")
        for path in ("users", "settings", "health"):
            assert program.call("GET", path).status_code == 403
    assert operator.get("imports")["items"][0]["requested_by"] == "ada"
    assert administrator.get("sources")["items"][0]["auth_username"] == "labuser"


def test_a_proxys_password_is_kept_when_its_shown_address_comes_back(
    app: Flask, program: Typed
) -> None:
    proxy = "http://user:geheim@proxy.example:3128/"
    with app.app_context():
        source = factories.boot_source()
        shown, login = proxies.split(proxy)
        source.proxy_url, source.proxy_login = shown, secrets.seal(login)
        source.is_unsigned, source.keyring_filename = True, ""
        db.session.commit()
        path = f"sources/{source.id}"
        db.session.remove()
    for change in ({"proxy_url": shown}, {"name": "lab"}):
        assert program.call("PATCH", path, change).json["proxy_url"] == shown
        with app.app_context():
            assert sources.draft_of(sources.all_sources()[0]).proxy_url == proxy
            db.session.remove()
    # The password goes to no other host than the one that it was given for.
    moved = program.call("PATCH", path, {"proxy_url": "http://user:***@elsewhere:3128/"})
    assert "again" in moved.json["errors"]["proxy_url"][0]
    removed = program.call("PATCH", path, {"proxy_url": ""})
    assert removed.json["proxy_url"] == ""
    with app.app_context():
        assert sources.all_sources()[0].proxy_login == ""
