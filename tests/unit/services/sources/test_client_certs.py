# SPDX-License-Identifier: Apache-2.0
"""Client certificates, against servers that demand them by TLS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.mirror.faults import Fault
from tests.mirror.server import MirrorServer
from tests.support import factories
from tests.support.signed import SigningKey
from tests.unit.fetch import servers
from tests.unit.stream_shapes.published import NOBLE, Stream
from webapp.errors import InvalidFields, Problem
from webapp.extensions import db
from webapp.fetch import FetchProblem
from webapp.models import utcnow
from webapp.services.sources import health, mirrors, refreshing, sources
from webapp.services.sources.drafts import SourceDraft
from webapp.services.sources.health import SourceState

pytestmark = pytest.mark.usefixtures("region")


@pytest.fixture
def stream(tmp_path: Path, signing_key: SigningKey) -> Stream:
    found = Stream(tmp_path / "upstream", signing_key)
    found.products = {NOBLE: found.ubuntu()}
    return found.publish()


@pytest.fixture
def server(stream: Stream, tmp_path: Path) -> Iterator[MirrorServer]:
    """A mirror that speaks to clients with a certificate only."""
    with MirrorServer(stream.root, tls=servers.asking_context(tmp_path)) as found:
        yield found


@pytest.fixture
def draft(server: MirrorServer, tmp_path: Path, signing_key: SigningKey) -> SourceDraft:
    """A source of that mirror, still without a certificate."""
    ca_file = str(servers.ca_file(tmp_path))
    return SourceDraft(url=server.url, keyring_data=signing_key.public, ca_file=ca_file)


def with_pair(draft: SourceDraft, pair: tuple[str, str]) -> SourceDraft:
    return replace(draft, client_cert=pair[0], client_key=pair[1])


def test_a_source_is_read_with_its_certificate_and_not_without(draft: SourceDraft) -> None:
    with pytest.raises(FetchProblem) as problem:
        sources.connect(draft)
    assert problem.value.what == "The server asks for a client certificate."
    held = with_pair(draft, servers.client_pair())
    assert len(sources.connect(held).offers) == 1
    row = sources.add(held, "ada")
    assert refreshing.refresh(row).problem is None
    assert "PRIVATE" not in row.client_cert
    assert held.client_key not in row.client_key  # it is sealed
    assert sources.draft_of(row).client_key == held.client_key


def test_certificate_and_key_may_come_in_one_text(draft: SourceDraft) -> None:
    certificate, key = servers.client_pair()
    row = sources.add(replace(draft, client_cert=key + certificate), "ada")
    assert refreshing.refresh(row).problem is None
    assert "PRIVATE" not in row.client_cert


def test_every_mirror_of_the_source_is_shown_the_certificate(
    draft: SourceDraft, server: MirrorServer, stream: Stream, tmp_path: Path
) -> None:
    with MirrorServer(stream.root, tls=servers.asking_context(tmp_path)) as other:
        held = replace(with_pair(draft, servers.client_pair()), mirrors=(other.url,))
        row = sources.add(held, "ada")
        server.set_faults([Fault(path="", status=503)])
        assert refreshing.refresh(row).problem is None
        routes = mirrors.fastest_first(row, "noble/amd64/20261120/squashfs")
        assert routes[0][0] == other.url
        assert row.mirror_speeds[1]["problem"] == ""


def test_the_certificate_is_not_shown_where_a_redirect_leads(
    draft: SourceDraft, server: MirrorServer, stream: Stream, tmp_path: Path
) -> None:
    with MirrorServer(stream.root, tls=servers.asking_context(tmp_path)) as other:
        target = f"{other.url}streams/v1/index.sjson"
        server.set_faults([Fault(path="index.sjson$", redirect=target)])
        with pytest.raises(FetchProblem) as problem:
            sources.connect(with_pair(draft, servers.client_pair()))
        assert problem.value.what == "The server asks for a client certificate."
        assert not other.log


def test_a_certificate_of_another_authority_is_refused_in_clear_words(draft: SourceDraft) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    own = servers._certificate("self", key, key, None, days=30, names=())
    pem = own.public_bytes(servers.serialization.Encoding.PEM).decode()
    with pytest.raises(FetchProblem) as problem:
        sources.connect(with_pair(draft, (pem, servers.pem_of(key))))
    assert problem.value.what == "The server refused the client certificate."


GOOD, OTHER = servers.client_pair(), servers.client_pair()
SEALED = servers.pem_of(ec.generate_private_key(ec.SECP256R1()), b"secret")


@pytest.mark.parametrize(
    ("pair", "field", "words"),
    [
        ((GOOD[0], OTHER[1]), "client_key", "This key doesn't belong to the certificate."),
        ((GOOD[0], ""), "client_key", "Add the private key of the certificate as well."),
        (("", GOOD[1]), "client_cert", "Add the certificate of this key as well."),
        (("nonsense", GOOD[1]), "client_cert", "This isn't a certificate in PEM format."),
        ((GOOD[0], "nonsense"), "client_key", "This isn't a private key in PEM format."),
        ((GOOD[0], SEALED), "client_key", "This key has a passphrase. Remove it first"),
        (servers.client_pair(days=-1), "client_cert", "This certificate expired on 20"),
        (("x" * 70_000, GOOD[1]), "client_cert", "This file is larger than 64 KiB."),
    ],
    ids=["other key", "no key", "no certificate", "odd certificate", "odd key", "passphrase",
         "expired", "large"],
)  # fmt: skip
def test_a_bad_pair_is_refused_and_said_why(
    draft: SourceDraft, pair: tuple[str, str], field: str, words: str
) -> None:
    with pytest.raises(InvalidFields) as problem:
        sources.add(with_pair(draft, pair), "ada")
    assert list(problem.value.fields) == [field]
    assert problem.value.fields[field][0].startswith(words)


def test_a_certificate_needs_https(draft: SourceDraft) -> None:
    plain = replace(draft, url="http://mirror.example.test/")
    with pytest.raises(InvalidFields) as problem:
        sources.add(with_pair(plain, GOOD), "ada")
    assert problem.value.fields == {"client_cert": ["A client certificate needs an https URL."]}


@pytest.mark.parametrize(
    ("days", "word"), [(-1, "expired"), (10, "expires"), (40, "")], ids=["over", "soon", "later"]
)
def test_expiry_is_warned_of(draft: SourceDraft, days: int, word: str) -> None:
    row = sources.add(with_pair(draft, GOOD), "ada")
    assert refreshing.refresh(row).problem is None
    row.client_cert_ends_at = utcnow() + timedelta(days=days)
    db.session.commit()
    found = health.judge(row)
    if not word:
        assert found.state == SourceState.OK
        return
    assert found.state == SourceState.CLIENT_CERT
    assert f"Its client certificate {word} on" in found.detail


def test_one_that_expired_stays_while_something_else_is_changed(draft: SourceDraft) -> None:
    old = servers.client_pair(days=-1)
    row = sources.add(draft, "ada")
    row.client_cert = old[0]
    row.client_key = sources.secrets.seal(old[1])
    db.session.commit()
    sources.update_source(row, replace(sources.draft_of(row), name="lab"), "ada")
    assert row.name == "lab"


def test_a_pair_that_cannot_be_used_is_a_problem_of_the_source(draft: SourceDraft) -> None:
    row = factories.boot_source(url=draft.url, client_cert="broken", is_unsigned=True,
                                keyring_filename="")  # fmt: skip
    problem = refreshing.refresh(row).problem
    assert isinstance(problem, Problem)
    assert problem.what == "The client certificate of this source can't be used."
