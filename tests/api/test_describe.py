# SPDX-License-Identifier: Apache-2.0
"""``describe/``: each detail that MAAS clients break on (rule: rest-describe)."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask

from tests.api.clients import API, Request, Script
from webapp.api.v2.describe import api_hash

# Resource: positional arguments of the command line, and action -> (method, op).
CONTRACT = {
    "BootSourcesHandler": ([], {"read": ("GET", None), "create": ("POST", None)}),
    "BootSourceHandler": (
        ["id"],
        {"read": ("GET", None), "update": ("PUT", None), "delete": ("DELETE", None)},
    ),
    "BootSourceSelectionsHandler": (
        ["boot_source_id"],
        {"read": ("GET", None), "create": ("POST", None)},
    ),
    "BootSourceSelectionHandler": (
        ["boot_source_id", "id"],
        {"read": ("GET", None), "update": ("PUT", None), "delete": ("DELETE", None)},
    ),
    "BootResourcesHandler": (
        [],
        {
            "read": ("GET", None),
            "import": ("POST", "import"),
            "stop_import": ("POST", "stop_import"),
            "is_importing": ("GET", "is_importing"),
        },
    ),
    "BootResourceHandler": (["id"], {"read": ("GET", None), "delete": ("DELETE", None)}),
    "UsersHandler": ([], {"read": ("GET", None), "whoami": ("GET", "whoami")}),
    "VersionHandler": ([], {"read": ("GET", None)}),
    "AccountHandler": (
        [],
        {
            "create_authorisation_token": ("POST", "create_authorisation_token"),
            "delete_authorisation_token": ("POST", "delete_authorisation_token"),
        },
    ),
}
# Without ":param " in the body of its doc, a command takes no key=value arguments.
TAKES_ARGUMENTS = {
    ("BootSourcesHandler", "create"),
    ("BootSourceHandler", "update"),
    ("BootSourceSelectionsHandler", "create"),
    ("BootSourceSelectionHandler", "update"),
    ("BootResourcesHandler", "read"),
    ("AccountHandler", "delete_authorisation_token"),
}


@pytest.fixture
def document(stranger: Script) -> dict[str, Any]:
    found: dict[str, Any] = stranger.get("describe/").json
    return found


def handlers(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for resource in document["resources"]:
        yield resource["auth"] or resource["anon"]


def test_its_type_is_json_exactly(stranger: Script, admin: Script) -> None:
    for script in (stranger, admin):
        answer = script.get("describe/")
        assert answer.status == "200 OK"
        assert answer.headers["Content-Type"] == "application/json"


def test_every_resource_of_the_contract_is_there(document: dict[str, Any]) -> None:
    found = {
        handler["name"]: (
            handler["params"],
            {a["name"]: (a["method"], a["op"]) for a in handler["actions"]},
        )
        for handler in handlers(document)
    }
    for name, (params, actions) in CONTRACT.items():
        assert found[name][0] == params
        assert found[name][1].items() >= actions.items()


def test_each_resource_has_both_auth_and_anon_and_one_is_null(document: dict[str, Any]) -> None:
    for resource in document["resources"]:
        assert (resource["auth"] is None) != (resource["anon"] is None)
        assert resource["name"] == (resource["auth"] or resource["anon"])["name"]
        assert (resource["anon"] is not None) == (resource["name"] == "VersionHandler")


def test_paths_and_addresses_are_both_there_and_agree(document: dict[str, Any]) -> None:
    for handler in handlers(document):
        assert handler["path"].startswith(API)
        assert handler["path"].endswith("/")
        assert handler["uri"] == f"http://localhost{handler['path']}"
        placeholders = [name for _, name, _, _ in string.Formatter().parse(handler["path"]) if name]
        assert placeholders == handler["params"]
        filled = handler["uri"].format(**dict.fromkeys(handler["params"], "1"))
        assert not set(filled) & set("{}")


def test_every_address_leads_to_its_actions(document: dict[str, Any], admin: Script) -> None:
    for handler in handlers(document):
        path = handler["path"].format(**dict.fromkeys(handler["params"], "999"))
        for action in handler["actions"]:
            answer = admin.call(action["method"], path, action["op"] or "", {})
            assert "Unrecognised" not in answer.text
            assert answer.status_code != 405


def test_docs_are_what_the_command_line_can_show(document: dict[str, Any]) -> None:
    for handler in handlers(document):
        assert handler["doc"]
        for action in handler["actions"]:
            title, _, body = action["doc"].partition("\n\n")
            assert title, (handler["name"], action["name"])
            assert "%" not in title
            assert "\n" not in title
            assert isinstance(action["restful"], bool)
            assert action["restful"] == (action["op"] is None)
            if (handler["name"], action["name"]) in TAKES_ARGUMENTS:
                assert re.search(r"^:param \w+: ", body, re.MULTILINE)
            assert ":param" not in title


def test_every_documented_argument_is_read(document: dict[str, Any], app: Flask) -> None:
    """What docs name must be what the code asks its arguments for."""
    import inspect

    from webapp.api.v2.table import RESOURCES

    runs = {(r.name, a.name): a.run for r in RESOURCES for a in r.actions}
    for handler in handlers(document):
        for action in handler["actions"]:
            module = inspect.getmodule(runs[handler["name"], action["name"]])
            assert module is not None
            source = inspect.getsource(module)
            for name in re.findall(r"^:param (\w+):", action["doc"], re.MULTILINE):
                assert f'"{name}"' in source


@pytest.mark.parametrize(
    ("environ", "headers", "root"),
    [
        ({}, {"Host": "slipway.lab:5240"}, "http://slipway.lab:5240"),
        ({}, {"Host": "10.0.0.1:5240"}, "http://10.0.0.1:5240"),
        ({}, {"Host": "[fd00::1]:5240"}, "http://[fd00::1]:5240"),
        ({"wsgi.url_scheme": "https"}, {"Host": "slipway.lab"}, "https://slipway.lab"),
        # Nobody is trusted: whoever sends these is not a proxy of ours.
        (
            {},
            {"Host": "a.lab", "X-Forwarded-Host": "evil.test", "X-Forwarded-Proto": "https"},
            "http://a.lab",
        ),
        ({"SERVER_PROTOCOL": "HTTP/1.0"}, {"Host": ""}, "http://localhost:80"),
    ],
)
def test_addresses_follow_the_host_that_the_client_asked(
    app: Flask, environ: dict[str, str], headers: dict[str, str], root: str
) -> None:
    answer = app.test_client().get(f"{API}describe/", headers=headers, environ_overrides=environ)
    assert {h["uri"].partition("/MAAS/")[0] for h in handlers(answer.json)} == {root}
    assert answer.json["hash"] == api_hash()


@pytest.mark.settings(trusted_proxies=1)
def test_addresses_follow_what_a_trusted_proxy_says(app: Flask) -> None:
    headers = {
        "Host": "127.0.0.1:5240",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.test, images.lab",
    }
    answer = app.test_client().get(f"{API}describe/", headers=headers)
    assert {h["uri"].partition("/MAAS/")[0] for h in handlers(answer.json)} == {
        "https://images.lab"
    }


def test_every_answer_of_the_api_carries_the_hash_of_the_description(
    document: dict[str, Any], admin: Script, stranger: Script
) -> None:
    answers = [
        admin.get("describe/"),
        admin.get("boot-sources/"),
        admin.post("boot-sources/"),
        admin.get("boot-sources/999/"),
        admin.get("nodes/"),
        admin.delete("boot-sources/999/"),
        stranger.get("boot-sources/"),
        stranger.get("version/"),
        admin.client.open(f"{API}version/", method="OPTIONS"),
    ]
    assert {answer.headers["X-MAAS-API-Hash"] for answer in answers} == {document["hash"]}
    assert re.fullmatch(r"[0-9a-f]{40,64}", document["hash"])


def test_the_hash_stays_with_another_host_and_after_a_restart(
    make_app: Callable[[str], Flask],
) -> None:
    hashes = set()
    for host in ("a.lab", "b.lab"):
        api_hash.cache_clear()
        answer = make_app("web").test_client().get(f"{API}describe/", headers={"Host": host})
        hashes.add(answer.json["hash"])
    assert len(hashes) == 1


def test_an_unsigned_probe_for_a_token_is_answered_with_401_and_no_challenge(
    stranger: Script,
) -> None:
    request = Request("POST", f"{API}account/?op=create_authorisation_token")
    answer = stranger.send(request)
    assert answer.status == "401 Unauthorized"
    assert "acaroon" not in answer.text + str(answer.headers)
