# SPDX-License-Identifier: Apache-2.0
"""Values that no page of ours sends are sent to every page: never a fault of ours."""

from __future__ import annotations

import re

import pytest
from flask import Flask

from tests.support import factories
from tests.web.routes import Route, pages
from tests.web.visitors import Visitor
from webapp.config import ROOT
from webapp.extensions import db
from webapp.models import Role

ODD = {
    "a superscript": "\u00b2",
    "control characters": "a\0b\x1b[31m\u202e\r\nSet-Cookie: x=y",
    "half a character": "\ud800",
    "a long text": "x" * 20_000,
    "a large number": "9" * 40,
    "half an address": "http://[::1",
}
LEFT_OUT = {"accounts.sign_out"}


def names() -> list[str]:
    """Every name of a field that a template or a form knows, or a view reads."""
    found = set()
    for path in sorted((ROOT / "templates").rglob("*.html")):
        text = path.read_text()
        found |= set(re.findall(r'\bname="(\w+)"', text)) | set(re.findall(r"form\.(\w+)", text))
        found |= set(re.findall(r'ui\.check\("(\w+)"', text))
    for path in sorted((ROOT / "webapp" / "web").glob("*.py")):
        text = path.read_text()
        found |= set(re.findall(r"^    (\w+) = \w+Field\(", text, re.M))
        found |= set(re.findall(r'(?:form|args|files)\.get(?:list)?\("(\w+)"', text))
    return sorted(found - {"csrf_token"})


def walked(app: Flask) -> list[Route]:
    return [route for route in pages(app) if route.endpoint not in LEFT_OUT]


@pytest.mark.parametrize("value", ODD.values(), ids=[name.replace(" ", "-") for name in ODD])
def test_no_value_brings_a_fault(app: Flask, value: str) -> None:
    with app.app_context():
        source = factories.boot_source()
        factories.selection(source)
        factories.cache_entry(source, os="ubuntu", release="noble")
        factories.boot_resource({"squashfs": b"x"}, release="jammy")
        factories.import_run(state="failed")
        db.session.remove()
    form = dict.fromkeys(names(), value.encode("utf-8", "surrogatepass"))
    assert {"username", "proxy_url", "days", "code", "next"} <= set(form)
    visitor = Visitor(app, Role.ADMINISTRATOR)
    token = visitor.token()
    faults = []
    for route in walked(app):
        is_form = route.method == "POST"
        answer = visitor.client.open(
            route.path,
            method=route.method,
            data={**form, "csrf_token": token} if is_form else None,
            query_string=None if is_form else form,
            headers={"X-CSRFToken": token},
        )
        if answer.status_code >= 500 and answer.status_code not in (503, 507):
            faults.append((str(route), answer.status_code))
        is_out = answer.headers.get("Location", "").startswith("/sign-in")
        answer.close()
        if is_out:
            visitor = Visitor(app, Role.ADMINISTRATOR)
            token = visitor.token()
    assert faults == []
