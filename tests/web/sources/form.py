# SPDX-License-Identifier: Apache-2.0
"""The form of a boot source."""

from __future__ import annotations

import re
from typing import Any

from werkzeug.test import TestResponse

from tests.mirror.server import MirrorServer
from tests.support import signed
from tests.web.visitors import Visitor, text_of
from webapp.extensions import db
from webapp.models import BootSource


def typed(server: MirrorServer, key: signed.SigningKey, **values: Any) -> dict[str, Any]:
    """A form that connects."""
    keyring = key.public_armored.decode()
    form = {"stream": "custom", "url": server.source_url, "keyring_text": keyring}
    return {**form, "auth_kind": "none", **values}


def connected(visitor: Visitor, form: dict[str, Any]) -> str:
    """Connect, and return the sealed draft of the preview."""
    page = visitor.post("/sources/connect", form)
    assert page.status_code == 200, text_of(page)
    return hidden(page, "draft")


def hidden(page: TestResponse, name: str) -> str:
    found = re.search(rf'<input[^>]*name="{name}"[^>]*value="([^"]*)"', page.text)
    assert found, name
    return found[1]


def stored() -> list[BootSource]:
    db.session.rollback()
    return list(db.session.scalars(db.select(BootSource).order_by(BootSource.id)))
