# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import Connection, delete, event, func, select

from tests.web.visitors import PASSWORD, Visitor, text_of
from webapp.extensions import db
from webapp.models import Event, LoginThrottle, Role
from webapp.services.accounts import passwords, sessions, throttle, users
from webapp.services.accounts.sessions import SignInProblem, TooManyAttempts

ATTACKER, OWNER = "198.51.100.7", "192.0.2.1"


class Clock:
    """The throttle's clock, moved by hand."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(throttle, "utcnow", clock)
    return clock


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Passwords that were really compared; the comparing itself is left out, for speed."""
    seen: list[str] = []

    def verify(password: str, kept: str | None) -> bool:
        seen.append(password)
        return password == PASSWORD and kept is not None

    monkeypatch.setattr(passwords, "verify", verify)
    return seen


def guess(name: str, password: str, address: str) -> str:
    try:
        user = sessions.authenticate(name, password, address=address)
    except SignInProblem:
        return "wrong"
    except TooManyAttempts:
        return "throttled"
    sessions.open_session(user, address=address, user_agent="")
    return "in"


def test_of_a_thousand_guesses_in_ten_minutes_twenty_at_most_are_evaluated(
    region: Flask, clock: Clock, evaluated: list[str]
) -> None:
    users.create_user("maria", PASSWORD, Role.VIEWER)
    for number in range(1000):
        guess("maria", f"guess {number}", ATTACKER)
        clock.forward(0.6)
    assert 10 <= len(evaluated) <= 20
    assert guess("maria", PASSWORD, OWNER) == "in"


def test_a_right_password_is_throttled_like_a_wrong_one(
    region: Flask, clock: Clock, evaluated: list[str]
) -> None:
    users.create_user("maria", PASSWORD, Role.VIEWER)
    for number in range(8):
        assert guess("maria", f"guess {number}", ATTACKER) == "wrong"
    assert guess("maria", PASSWORD, ATTACKER) == "throttled"
    clock.forward(61)
    assert guess("maria", PASSWORD, ATTACKER) == "in"


def test_a_person_who_gets_in_starts_afresh(
    region: Flask, clock: Clock, evaluated: list[str]
) -> None:
    users.create_user("maria", PASSWORD, Role.VIEWER)
    for _ in range(4):
        outcomes = [guess("maria", word, OWNER) for word in ("a", "b", "c", PASSWORD)]
        assert outcomes == ["wrong", "wrong", "wrong", "in"]


def test_one_address_cannot_try_one_password_on_every_account(
    region: Flask, clock: Clock, evaluated: list[str]
) -> None:
    for number in range(200):
        guess(f"user{number}", "Summer2026", ATTACKER)
    assert len(evaluated) == sessions.ADDRESS_BUCKET.capacity


def test_addresses_of_one_ipv6_network_count_as_one(
    region: Flask, clock: Clock, evaluated: list[str]
) -> None:
    for number in range(30):
        guess("maria", "x", f"2001:db8::{number:x}")
    assert len(evaluated) == sessions.ACCOUNT_BUCKET.capacity
    assert guess("maria", "x", "2001:db8:0:1::1") == "wrong"


@pytest.mark.both_databases
def test_guesses_at_the_same_moment_cannot_share_a_token(region: Flask, clock: Clock) -> None:
    barrier, allowed = threading.Barrier(8), []

    def spend() -> None:
        with region.app_context():
            barrier.wait(10)
            for _ in range(5):
                allowed.append(throttle.allow(sessions.ACCOUNT_BUCKET, "maria"))
            db.session.remove()

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (sum(allowed), len(allowed)) == (8, 40)


def test_a_bucket_never_holds_more_than_its_capacity(region: Flask, clock: Clock) -> None:
    bucket = throttle.Bucket("test", capacity=2, refill_s=10)
    assert throttle.allow(bucket, "k")
    clock.forward(100_000)
    assert [throttle.allow(bucket, "k") for _ in range(3)] == [True, True, False]


def test_a_clock_that_goes_back_gives_no_tokens(region: Flask, clock: Clock) -> None:
    bucket = throttle.Bucket("test", capacity=2, refill_s=10)
    assert [throttle.allow(bucket, "k") for _ in range(2)] == [True, True]
    clock.forward(-3600)
    assert not throttle.allow(bucket, "k")


def test_a_clock_that_went_back_refuses_no_one_for_long(
    region: Flask, clock: Clock, evaluated: list[str]
) -> None:
    users.create_user("maria", PASSWORD, Role.VIEWER)
    while guess("maria", "x", ATTACKER) == "wrong":
        pass
    clock.forward(-365 * 86400)
    assert guess("maria", PASSWORD, ATTACKER) == "throttled"
    clock.forward(61)
    assert guess("maria", PASSWORD, ATTACKER) == "in"


def test_guesses_from_many_addresses_share_a_slow_bucket(
    region: Flask, clock: Clock, evaluated: list[str]
) -> None:
    users.create_user("maria", PASSWORD, Role.VIEWER)
    assert guess("maria", PASSWORD, OWNER) == "in"
    evaluated.clear()
    for number in range(100):
        guess("maria", f"guess {number}", f"198.51.100.{number}")
        clock.forward(36)
    assert len(evaluated) <= sessions.EVERYWHERE_BUCKET.capacity + 12
    while guess("maria", "x", f"198.51.101.{len(evaluated)}") == "wrong":
        pass
    assert guess("maria", PASSWORD, "203.0.113.9") == "throttled"
    assert guess("maria", PASSWORD, OWNER) == "in"  # an address that signed in before
    assert guess("someone", "x", "203.0.113.9") == "wrong"


def test_an_address_stays_known_while_buckets_are_swept(
    region: Flask, clock: Clock, evaluated: list[str]
) -> None:
    users.create_user("maria", PASSWORD, Role.VIEWER)
    assert guess("maria", PASSWORD, OWNER) == "in"
    clock.forward(100 * 86400)
    assert guess("maria", PASSWORD, "192.0.2.99") == "in"  # sweeps
    while guess("maria", "x", f"198.51.100.{len(evaluated)}") == "wrong":
        pass
    assert guess("maria", PASSWORD, OWNER) == "in"
    clock.forward(181 * 86400)
    while guess("maria", "x", f"198.51.100.{len(evaluated)}") == "wrong":
        pass
    assert guess("maria", PASSWORD, OWNER) == "throttled"


def test_old_buckets_are_swept_at_the_next_sign_in(
    region: Flask, clock: Clock, evaluated: list[str]
) -> None:
    users.create_user("maria", PASSWORD, Role.VIEWER)
    for number in range(5):
        guess(f"user{number}", "x", ATTACKER)
    clock.forward(2 * 86400)
    guess("maria", PASSWORD, OWNER)
    kept = db.session.scalar(select(func.count()).select_from(LoginThrottle))
    # The address that just signed in: its bucket, its account's, and that it's known.
    assert kept == 3


def test_the_page_says_how_long_to_wait(app: Flask, visit: Callable[..., Visitor]) -> None:
    with app.app_context():
        users.create_user("maria", PASSWORD, Role.VIEWER)
    attacker = visit(address=ATTACKER)
    token = attacker.token()
    form = {"username": "maria", "password": "wrong", "csrf_token": token}
    answers = [attacker.client.post("/sign-in", data=form) for _ in range(9)]
    assert [answer.status_code for answer in answers] == [422] * 8 + [429]
    assert answers[-1].headers["Retry-After"] == "60"
    assert "Wait a minute" in text_of(answers[-1])
    assert visit(address=OWNER).sign_in("maria").status_code == 303


def test_refused_access_is_an_event_and_a_flood_of_it_is_one_row(
    app: Flask, visit: Callable[..., Visitor]
) -> None:
    with app.app_context():
        users.create_user("maria", PASSWORD, Role.VIEWER)
    attacker = visit(address=ATTACKER)
    form = {"username": "maria", "password": "wrong", "csrf_token": attacker.token()}
    for _ in range(20):
        attacker.client.post("/sign-in", data=form)
    maria = visit(address=OWNER)
    assert maria.sign_in("maria").status_code == 303
    for _ in range(3):
        assert maria.get("/users/").status_code == 403
    visit(address=ATTACKER).client.get("/api/v1/events")
    with app.app_context():
        found = db.session.scalars(select(Event).where(Event.kind == "access.refused")).all()
        assert [(event.actor, event.subject) for event in found] == [
            ("", ATTACKER),
            ("maria", OWNER),
        ]
        assert found[0].detail["status"] in (401, 429)


@pytest.mark.settings(trusted_proxies=0)
def test_a_made_up_forwarded_address_does_not_help(
    app: Flask, visit: Callable[..., Visitor], evaluated: list[str]
) -> None:
    attacker = visit(address=ATTACKER)
    token = attacker.token()
    for number in range(30):
        attacker.client.post(
            "/sign-in",
            data={"username": "maria", "password": "x", "csrf_token": token},
            headers={"X-Forwarded-For": f"10.0.0.{number}", "Forwarded": f"for=10.1.0.{number}"},
        )
    assert len(evaluated) == 8


@pytest.mark.settings(trusted_proxies=1)
def test_behind_a_trusted_proxy_its_last_word_counts(
    app: Flask, visit: Callable[..., Visitor], evaluated: list[str]
) -> None:
    attacker = visit(address="127.0.0.1")
    token = attacker.token()
    for number in range(30):
        attacker.client.post(
            "/sign-in",
            data={"username": "maria", "password": "x", "csrf_token": token},
            headers={"X-Forwarded-For": f"10.0.0.{number}, {ATTACKER}"},
        )
    assert len(evaluated) == 8


@pytest.mark.both_databases
def test_a_bucket_that_is_filled_while_it_is_asked_is_not_empty(region: Flask) -> None:
    bucket, removed = throttle.Bucket("test", 2, 60), []
    assert throttle.allow(bucket, "ann")

    @event.listens_for(db.engine, "after_cursor_execute")
    def _fill(conn: Connection, _c: object, statement: str, *_rest: object) -> None:
        # As another process does, once the code that it took was the right one.
        if statement.startswith("INSERT INTO login_throttle") and not removed:
            removed.append(conn.execute(delete(LoginThrottle)).rowcount)

    try:
        assert throttle.allow(bucket, "ann")
    finally:
        event.remove(db.engine, "after_cursor_execute", _fill)
    assert removed == [1]
    assert throttle.allow(bucket, "ann")
    assert not throttle.allow(bucket, "ann")
