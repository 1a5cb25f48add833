# SPDX-License-Identifier: Apache-2.0
"""Racks enrol with tokens of limited time and number, and are known by a credential."""

from __future__ import annotations

from datetime import timedelta

from flask import Flask
from sqlalchemy import select, update

from tests.api.racks.remote import RemoteRack, ask, enrol
from tests.api.v1.typed import Typed
from webapp.extensions import db
from webapp.models import Event, Rack, RackToken, utcnow
from webapp.services.accounts.credentials import digest
from webapp.services.racks import tokens
from webapp.trust.keyrings import load_keyring


def new_token(app: Flask, uses: int = 1) -> str:
    with app.app_context():
        return tokens.create("ada", uses=uses)[1]


def test_a_token_pins_the_key_of_the_region(publisher: Flask) -> None:
    token = new_token(publisher)
    secret, _, fingerprint = token.partition(".")
    answer = ask(publisher, secret)
    found = answer.json
    assert answer.status_code == 201
    assert (found["fingerprint"], found["mirror_path"]) == (fingerprint, "/mirror/")
    assert load_keyring(found["public_key"].encode()).fingerprints == (fingerprint,)
    assert RemoteRack(publisher, found).next()["state"] > 0


def test_only_hashes_are_stored(publisher: Flask) -> None:
    token = new_token(publisher)
    found = ask(publisher, token).json
    with publisher.app_context():
        rows = [*db.session.scalars(select(Rack)), *db.session.scalars(select(RackToken))]
        rows += list(db.session.scalars(select(Event)))
        everything = str([vars(row) for row in rows])
    assert token.partition(".")[0] not in everything
    assert found["credential"] not in everything


def test_a_token_is_refused_when_used_up_expired_revoked_or_unknown(publisher: Flask) -> None:
    used, expired, revoked = (new_token(publisher) for _ in range(3))
    assert ask(publisher, used).status_code == 201
    with publisher.app_context():
        rows = tokens.all_tokens()
        tokens.revoke(rows[0].id, "ada")
        old = RackToken.id == rows[1].id
        db.session.execute(update(RackToken).where(old).values(expires_at=utcnow()))
        db.session.commit()
    for token in (used, expired, revoked, "x", "", "\u00e4.F"):
        answer = ask(publisher, token, "rack-2")
        assert (answer.status_code, answer.json["code"]) == (403, "enrolment-refused")
    with publisher.app_context():
        assert list(db.session.scalars(select(Rack.name))) == ["rack-1"]


def test_a_token_enrols_as_many_racks_as_it_says(publisher: Flask) -> None:
    token = new_token(publisher, uses=2)
    codes = [ask(publisher, token, f"rack-{n}").status_code for n in range(3)]
    assert codes == [201, 201, 403]


def test_a_taken_name_costs_no_use(publisher: Flask, rack: RemoteRack) -> None:
    rack.next()
    token = new_token(publisher)
    refused = ask(publisher, token)
    assert (refused.status_code, refused.json["code"]) == (409, "conflict")
    assert ask(publisher, token, "rack-2").status_code == 201


def test_a_rack_whose_answer_was_lost_enrols_again(publisher: Flask) -> None:
    token = new_token(publisher)
    lost, kept = ask(publisher, token).json, ask(publisher, token).json
    assert lost["id"] == kept["id"]
    assert RemoteRack(publisher, lost).call("GET", "next").status_code == 401
    RemoteRack(publisher, kept).next()
    assert ask(publisher, token).status_code == 403, "it was seen, so nothing was lost"


def test_a_rack_with_a_credential_of_its_own_is_told_from_one_with_its_name(
    publisher: Flask,
) -> None:
    token = new_token(publisher, uses=3)
    own, other = ({"credential_sha256": digest(f"slr_{who}")} for who in ("own", "other"))
    first = ask(publisher, token, **own).json
    assert first["credential"] == ""
    refused = ask(publisher, token, **other)  # from the same address, behind NAT
    assert (refused.status_code, refused.json["code"]) == (409, "conflict")
    taken = ask(publisher, token, "rack-2", **own)
    assert taken.status_code == 409
    rack = RemoteRack(publisher, {"id": first["id"], "credential": "slr_own"})
    assert rack.next()["state"]
    assert ask(publisher, token, **own).json["id"] == first["id"], "its answer was lost"
    assert rack.next()["state"]
    assert ask(publisher, token, "rack-2", **other).status_code == 201, "two uses are spent"
    assert ask(publisher, token, "rack-3", credential_sha256="short").status_code == 422


def test_another_rack_of_the_same_name_takes_nothing_over(publisher: Flask) -> None:
    token = new_token(publisher, uses=3)
    first = RemoteRack(publisher, ask(publisher, token).json)  # it has made no call yet
    elsewhere = {"REMOTE_ADDR": "192.0.2.9"}
    for more in ({"url": "http://10.0.0.6:5248"}, {"environ": elsewhere}):
        refused = ask(publisher, token, **more)
        assert (refused.status_code, refused.json["code"]) == (409, "conflict")
    assert first.next()["state"]


def test_names_and_urls_are_checked(publisher: Flask) -> None:
    token = new_token(publisher)
    for name in ("", "a b", "../x", "x" * 64, "\u00e4"):
        answer = ask(publisher, token, name)
        assert (answer.status_code, list(answer.json["errors"])) == (422, ["name"])
    for url in ("ftp://x/", "http://", "javascript:x"):
        answer = ask(publisher, token, url=url)
        assert (answer.status_code, list(answer.json["errors"])) == (422, ["url"])
    assert ask(publisher, token, later="field").status_code == 201


def test_guessing_is_slowed_down(publisher: Flask) -> None:
    codes = {ask(publisher, "guess", "rack-9").status_code for _ in range(25)}
    assert codes == {403, 429}
    answer = ask(publisher, "guess")
    assert answer.headers["Retry-After"]


def test_a_credential_opens_racks_calls_and_nothing_else(
    publisher: Flask, rack: RemoteRack, program: Typed
) -> None:
    stranger = Typed(publisher.test_client(), rack.credential)
    assert stranger.call("GET", "status").status_code == 401
    assert stranger.call("GET", "racks").status_code in (401, 404)
    assert program.call("GET", "racks/self/next").status_code == 401
    assert program.call("POST", "racks/self/report", {}).status_code == 401
    for wrong in ("", "slr_x", "slr_\u00e4", rack.credential + "x"):
        assert RemoteRack(publisher, {"id": 1, "credential": wrong}).call(
            "POST", "report", {}
        ).status_code == 401  # fmt: skip


def test_the_rack_is_seen(publisher: Flask) -> None:
    rack = enrol(publisher)
    with publisher.app_context():
        assert db.session.get_one(Rack, rack.id).seen_at is None
    rack.next()
    with publisher.app_context():
        row = db.session.get_one(Rack, rack.id)
        assert row.seen_at is not None
        assert abs(utcnow() - row.seen_at) < timedelta(minutes=1)
        assert row.address == "127.0.0.1"
