# SPDX-License-Identifier: Apache-2.0
"""A phone that shows codes."""

from __future__ import annotations

import re

import pyotp
from flask import Flask
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from tests.web.visitors import PASSWORD, Visitor, leads_to, text_of
from webapp.extensions import db
from webapp.models import Event, User, utcnow

NEW = "a quite different passphrase"
ADDRESS = "192.0.2.1"


class Phone:
    """An authenticator app, with the recovery codes that were written down."""

    def __init__(self, key: str, recovery: list[str]) -> None:
        self.totp, self.recovery = pyotp.TOTP(key), recovery

    def code(self, steps: int = 0) -> str:
        """The code of the present time step, or of one that is so many steps away."""
        return self.totp.generate_otp(self.totp.timecode(utcnow()) + steps)


def begin(visitor: Visitor) -> str:
    assert leads_to(visitor.post("/account/two-factor/begin")) == "/account/two-factor"
    return shown(visitor.get("/account/two-factor"), "totp-key").replace(" ", "")


def enrol(visitor: Visitor) -> Phone:
    phone = Phone(begin(visitor), [])
    form = {"password": PASSWORD, "code": phone.code()}
    assert leads_to(visitor.post("/account/two-factor/on", form)) == "/account/two-factor"
    phone.recovery = shown(visitor.get("/account/two-factor"), "recovery-codes").split()
    return phone


def shown(page: TestResponse, id: str) -> str:
    found = re.search(rf'id="{id}">(.+?)</code>', page.text)
    assert found, text_of(page)
    return re.sub("<[^>]+>", "", found[1])


def time_passes(app: Flask) -> None:
    """Forget the last step, as if the last code had been used long ago."""
    with app.app_context():
        db.session.execute(update(User).values(totp_last_step=0))
        db.session.commit()


def give(visitor: Visitor, code: str, next: str = "") -> TestResponse:
    return visitor.post(f"/sign-in/code{f'?next={next}' if next else ''}", {"code": code})


def kinds(app: Flask) -> list[str]:
    with app.app_context():
        return list(db.session.scalars(select(Event.kind).order_by(Event.id)))
