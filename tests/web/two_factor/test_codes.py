# SPDX-License-Identifier: Apache-2.0
"""Which codes count, and turning the second factor on and changing it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

import pyotp
import pytest
from flask import Flask
from flask.testing import FlaskCliRunner
from sqlalchemy import select

from tests.web.two_factor.phone import ADDRESS, NEW, Phone, begin, enrol, give, kinds, shown
from tests.web.visitors import PASSWORD, Visitor, everything, leads_to, text_of
from webapp.errors import Conflict
from webapp.extensions import db
from webapp.models import Event, Role
from webapp.services.accounts import sessions, two_factor, users
from webapp.services.accounts.sessions import TooManyAttempts
from webapp.services.system import secrets
from webapp.web import two_factor as pages

RFC_KEY = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # RFC 6238, appendix B: 12345678901234567890


# -- which codes count


@pytest.mark.parametrize(
    ("second", "code"),
    [(59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (20000000000, "353130")],
)
def test_codes_are_those_of_rfc_6238(second: int, code: str) -> None:
    now = datetime.fromtimestamp(second, UTC)
    assert two_factor.accepted_step(RFC_KEY, code, now, 0) == second // 30


@pytest.mark.parametrize(("away", "counts"), [(-2, 0), (-1, 1), (0, 1), (1, 1), (2, 0)])
def test_a_code_counts_one_time_step_before_and_after_its_own(away: int, counts: int) -> None:
    now = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
    totp = pyotp.TOTP(RFC_KEY)
    step = totp.timecode(now) + away
    accepted = two_factor.accepted_step(RFC_KEY, totp.generate_otp(step), now, 0)
    assert accepted == (step if counts else None)


def test_a_step_that_was_used_and_those_before_it_count_no_more() -> None:
    now = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
    totp = pyotp.TOTP(RFC_KEY)
    present = totp.timecode(now)
    codes = {away: totp.generate_otp(present + away) for away in (-1, 0, 1)}
    for away, code in codes.items():
        accepted = two_factor.accepted_step(RFC_KEY, code, now, present)
        assert accepted == (present + 1 if away == 1 else None)


def test_a_step_that_has_not_come_yet_is_from_before_the_clock_was_set_back() -> None:
    now = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
    totp = pyotp.TOTP(RFC_KEY)
    present = totp.timecode(now)
    code = totp.generate_otp(present)
    assert two_factor.accepted_step(RFC_KEY, code, now, present + 120) == present


@pytest.mark.parametrize(
    "code", ["", " ", "12345", "1234567", "٢٨٧٠٨٢", "28708\uff12", "\0", "x" * 9999]
)
def test_what_is_no_code_is_refused(code: str) -> None:
    now = datetime.fromtimestamp(59, UTC)
    assert two_factor.accepted_step(RFC_KEY, code, now, 0) is None


def test_codes_may_be_pasted_with_spaces() -> None:
    assert two_factor.accepted_step(RFC_KEY, " 287 082\n", datetime.fromtimestamp(59, UTC), 0) == 1


# -- turning it on


def test_turning_on_shows_key_and_picture_and_asks_for_a_code_first(
    app: Flask, maria: Visitor
) -> None:
    assert "Off" in text_of(maria.get("/account"))
    key = begin(maria)
    assert re.fullmatch(r"[A-Z2-7]{32}", key)
    assert re.search(
        r'id="totp-key">([A-Z2-7]{4} ){7}[A-Z2-7]{4}<', maria.get("/account/two-factor").text
    )
    with app.app_context():
        assert not two_factor.is_on(users.user_named("maria"))
    picture = maria.get("/account/two-factor/qr.svg")
    assert picture.mimetype == "image/svg+xml"
    assert picture.headers["Cache-Control"] == "no-store"
    assert picture.text.startswith("<svg")
    assert "style" not in picture.text
    assert "script" not in picture.text
    codes = enrol(maria).recovery
    assert len(set(codes)) == 10
    assert all(re.fullmatch(r"([a-z2-7]{4}-){5}[a-z2-7]{4}", code) for code in codes)
    assert "10 recovery codes left" in text_of(maria.get("/account"))
    assert "user.two_factor_on" in kinds(app)


def test_the_picture_carries_the_key_for_this_user() -> None:
    found = pyotp.parse_uri(two_factor.key_address(RFC_KEY, "maria"))
    assert (found.secret, found.name, found.issuer) == (RFC_KEY, "maria", "Slipway")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"code": "000000x"}, "That code is invalid"),
        ({"code": ""}, "Enter a code."),
        ({"password": "wrong"}, "Wrong password."),
        ({"password": ""}, "Enter your password."),
    ],
)
def test_it_stays_off_without_password_and_code(
    app: Flask, maria: Visitor, wrong: dict[str, str], words: str
) -> None:
    phone = Phone(begin(maria), [])
    form = {"password": PASSWORD, "code": phone.code(), **wrong}
    response = maria.post("/account/two-factor/on", form)
    assert response.status_code == 422
    assert words in text_of(response)
    with app.app_context():
        assert not two_factor.is_on(users.user_named("maria"))


def test_a_key_waits_for_its_code_for_a_while_only(
    maria: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone = Phone(begin(maria), [])
    monkeypatch.setattr(pages, "NEW_KEY_S", -1)
    form = {"password": PASSWORD, "code": phone.code()}
    assert leads_to(maria.post("/account/two-factor/on", form)) == "/account"
    assert maria.get("/account/two-factor/qr.svg").status_code == 404
    assert leads_to(maria.get("/account/two-factor")) == "/account"


def test_turning_on_ends_the_sessions_opened_without_it(
    maria: Visitor, visit: Callable[..., Visitor]
) -> None:
    other = visit(address="192.0.2.9")
    other.sign_in("maria")
    enrol(maria)
    assert maria.is_signed_in()
    assert not other.is_signed_in()


def test_a_key_in_use_is_not_replaced(maria: Visitor, phone: Phone) -> None:
    key = begin_in_cookie(maria)
    form = {"password": PASSWORD, "code": Phone(key, []).code()}
    assert maria.post("/account/two-factor/on", form).status_code == 409


def begin_in_cookie(visitor: Visitor) -> str:
    visitor.post("/account/two-factor/begin")
    with visitor.client.session_transaction() as kept, visitor.app.app_context():
        return secrets.unseal(kept[pages.NEW_KEY])


def test_key_and_codes_are_shown_once_and_are_nowhere_in_clear(
    app: Flask, maria: Visitor, phone: Phone
) -> None:
    page = maria.get("/account/two-factor").text + maria.get("/account").text
    rows = repr(everything(app))
    for secret in (phone.totp.secret, *phone.recovery):
        assert secret not in page
        assert secret not in rows
        assert secret.replace("-", "") not in rows
    key = begin_in_cookie(maria)
    with maria.client.session_transaction() as kept:
        assert key not in repr(dict(kept))


# -- changing it


@pytest.mark.parametrize("who", ["oneself", "administrator"])
def test_a_new_password_keeps_the_second_factor(
    app: Flask, administrator: Visitor, maria: Visitor, phone: Phone, stranger: Visitor, who: str
) -> None:
    if who == "oneself":
        form = {"current": PASSWORD, "password": NEW, "again": NEW}
        assert maria.post("/account/password", form).status_code == 303
    else:
        path = f"/users/{user_id(app)}/password"
        assert administrator.post(path, {"password": NEW}).status_code == 303
    assert leads_to(stranger.sign_in("maria", NEW)) == "/sign-in/code"
    assert give(stranger, phone.code()).status_code == 303


def test_a_recovery_code_is_never_broken_over_two_lines(maria: Visitor) -> None:
    phone = enrol(maria)
    maria.post("/account/two-factor/codes", {"code": phone.recovery[0]})
    page = maria.get("/account/two-factor")
    codes = shown(page, "recovery-codes").split(" ")
    assert len(codes) == 10
    assert all(f'<span class="nowrap">{code}</span>' in page.text for code in codes)


def test_new_recovery_codes_void_the_old_ones(
    app: Flask, maria: Visitor, phone: Phone, stranger: Visitor
) -> None:
    assert maria.post("/account/two-factor/codes", {"code": "1"}).status_code == 422
    assert maria.post("/account/two-factor/codes", {"code": ""}).status_code == 422
    assert maria.post("/account/two-factor/codes", {"code": phone.code()}).status_code == 303
    new = shown(maria.get("/account/two-factor"), "recovery-codes").split()
    assert len(set(new) | set(phone.recovery)) == 20
    assert "recovery-codes" not in maria.get("/account/two-factor").text
    stranger.sign_in("maria")
    assert give(stranger, phone.recovery[0]).status_code == 422
    assert give(stranger, new[0]).status_code == 303
    assert "user.recovery_codes_made" in kinds(app)


def test_turning_off_asks_for_password_and_code(
    app: Flask, maria: Visitor, phone: Phone, stranger: Visitor
) -> None:
    for wrong in ({"password": "wrong"}, {"code": "1"}, {"password": ""}, {"code": ""}):
        form = {"password": PASSWORD, "code": phone.code(), **wrong}
        assert maria.post("/account/two-factor/off", form).status_code == 422
    assert leads_to(stranger.sign_in("maria")) == "/sign-in/code"
    form = {"password": PASSWORD, "code": phone.code()}
    assert leads_to(maria.post("/account/two-factor/off", form)) == "/account"
    with app.app_context():
        user = users.user_named("maria")
        assert (user.totp_secret, user.totp_last_step, user.recovery_hashes) == ("", 0, [])
    assert leads_to(stranger.sign_in("maria")) == "/"
    assert stranger.is_signed_in()
    assert "user.two_factor_off" in kinds(app)


def test_guesses_from_the_account_page_are_throttled(maria: Visitor, phone: Phone) -> None:
    answers = [
        maria.post("/account/two-factor/codes", {"code": "no code"}).status_code for _ in range(9)
    ]
    assert answers == [422] * 8 + [429]


@pytest.mark.parametrize(
    ("page", "form"), [("codes", {"code": "1"}), ("off", {"code": "1", "password": PASSWORD})]
)
def test_what_is_off_cannot_be_changed(maria: Visitor, page: str, form: dict[str, str]) -> None:
    assert maria.post(f"/account/two-factor/{page}", form).status_code == 409


# -- when phone and codes are lost


def user_id(app: Flask) -> int:
    with app.app_context():
        return users.user_named("maria").id


def test_an_administrator_removes_the_factor_of_another_user(
    app: Flask, administrator: Visitor, maria: Visitor, phone: Phone, stranger: Visitor
) -> None:
    path = f"/users/{user_id(app)}"
    assert "Reset two-factor authentication" in text_of(administrator.get(path))
    assert leads_to(administrator.post(f"{path}/two-factor/remove")) == path
    assert "Reset two-factor authentication" not in text_of(administrator.get(path))
    assert leads_to(stranger.sign_in("maria")) == "/"
    with app.app_context():
        event = db.session.scalars(select(Event).where(Event.kind == "user.two_factor_reset")).one()
        assert (event.actor, event.subject) == (administrator.username, "maria")
    administrator.post(f"{path}/two-factor/remove")
    assert kinds(app).count("user.two_factor_reset") == 1


def test_ones_own_factor_is_not_removed_without_a_code(region: Flask) -> None:
    user = users.create_user("ada", PASSWORD, Role.ADMINISTRATOR)
    with pytest.raises(Conflict):
        two_factor.reset(user, actor="ada")


def test_the_command_line_removes_a_factor(
    app: Flask, maria: Visitor, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    from webapp.cli import accounts, main

    monkeypatch.setattr(accounts, "app_context", app.app_context)
    run = FlaskCliRunner(app).invoke
    words = ["user", "reset-two-factor", "Maria"]
    assert run(main.cli, words).output == "Removed the second factor of maria.\n"
    assert run(main.cli, words).output == "maria had no second factor.\n"
    with app.app_context():
        assert not two_factor.is_on(users.user_named("maria"))


def test_a_throttled_check_compares_nothing(region: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    user = users.create_user("maria", PASSWORD, Role.VIEWER)
    monkeypatch.setattr(sessions.throttle, "allow", lambda bucket, key: False)
    monkeypatch.setattr(two_factor, "_locked", pytest.fail)
    with pytest.raises(TooManyAttempts):
        two_factor.check(user, "123456", address=ADDRESS)
