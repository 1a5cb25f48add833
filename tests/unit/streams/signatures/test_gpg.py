# SPDX-License-Identifier: Apache-2.0
"""gpgv itself: its files, its time and every lie it could tell."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import signed_documents as documents
from tests.support.signed import SigningKey, clearsign, detach, keyring_of, new_key
from tests.support.signed_documents import PAYLOAD, good, publisher, stranger
from tests.unit.streams.signatures.refusing import refusal
from webapp.trust import gpg
from webapp.trust.errors import GpgProblem, KeyringProblem, SignatureProblem
from webapp.trust.keyrings import Keyring, load_keyring
from webapp.trust.signatures import verify_clearsigned, verify_detached
from webapp.trust.verify import verify_file


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    # Not tmp_path: gpg-agent, if one were started, could not bind in a path so long.
    folder = Path(tempfile.mkdtemp(prefix="st", dir="/tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def fake_gpgv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def install(script: str) -> None:
        program = tmp_path / "gpgv"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return install


# -- files


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("ring").write_bytes(publisher().public_armored)
    return tmp_path


@pytest.mark.parametrize("name", ["--output=ring", "-", "a\nb", "$(touch x)", "é", "-&3"])
def test_file_of_any_name_is_only_data(folder: Path, name: str) -> None:
    Path(name).write_bytes(good())
    Path("unsigned").write_bytes(PAYLOAD)
    Path(name + ".sig").write_bytes(detach(publisher(), PAYLOAD))
    before = sorted(os.listdir())

    assert verify_file(name, "ring").payload == PAYLOAD
    assert verify_file("unsigned", "ring", name + ".sig").payload == PAYLOAD
    assert sorted(os.listdir()) == before


def test_link_to_a_file_is_followed(folder: Path) -> None:
    Path("real").write_bytes(good())
    Path("link").symlink_to("real")

    assert verify_file("link", "ring").payload == PAYLOAD


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("fifo", "not-regular"),
        (".", "not-regular"),
        ("/dev/zero", "not-regular"),
        ("huge", "too-large"),
        ("none", "missing"),
        ("good/x", "unreadable"),
        ("a\0b", "unreadable"),
    ],
)
def test_odd_file_is_refused_and_never_waited_for(folder: Path, name: str, reason: str) -> None:
    os.mkfifo("fifo")
    Path("good").write_bytes(good())
    with open("huge", "wb") as huge:
        huge.truncate(1 << 40)

    as_document = refusal(lambda: verify_file(name, "ring"))
    as_signature = refusal(lambda: verify_file("good", "ring", name))
    with pytest.raises(KeyringProblem) as as_keyring:
        verify_file("good", name)

    assert as_document.code == f"document-{reason}"
    assert as_signature.code == f"signature-file-{reason}"
    assert as_keyring.value.code == f"keyring-{reason}"
    assert as_document.where == as_keyring.value.where == name
    assert as_document.next_step


# -- gpg itself


def test_nothing_of_the_users_own_gpg_is_read(
    keyring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / ".gnupg"
    home.mkdir(mode=0o700)
    for name in ("gpg.conf", "gpgv.conf", "common.conf", "gpg-agent.conf"):
        (home / name).write_text("no-such-option\n")
    for name in ("trustedkeys.gpg", "pubring.gpg"):
        (home / name).write_bytes(stranger().public)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GNUPGHOME", str(home))
    before = sorted(os.listdir(home))

    assert load_keyring(publisher().public_armored) == keyring
    assert verify_clearsigned(good(), keyring, what="x").payload == PAYLOAD
    assert refusal(lambda: verify_clearsigned(documents.forged(), keyring, what="x")).code == (
        "signature-unknown-key"
    )
    assert sorted(os.listdir(home)) == before


def test_no_agent_and_no_folder_stays_behind(temporary: Path) -> None:
    keyring = load_keyring(keyring_of(publisher(), documents.stolen()))
    for raw in (good(), documents.forged(), documents.padded(b" "), b""):
        try:
            verify_clearsigned(raw, keyring, what="x")
        except SignatureProblem:
            continue
    verify_detached(PAYLOAD, detach(publisher(), PAYLOAD), keyring, what="x")
    with pytest.raises(KeyringProblem):
        load_keyring(documents.stolen().public)

    assert os.listdir(temporary) == []
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")]
    assert not [line for line in commands if bytes(temporary) in line]


def test_missing_program_is_named_with_the_command_that_installs_it(
    keyring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = good()
    monkeypatch.setenv("PATH", str(tmp_path))

    for call in (
        lambda: verify_clearsigned(raw, keyring, what="x"),
        lambda: load_keyring(publisher().public),
    ):
        problem = refusal(call)
        assert problem.code == "gpg-missing"
        assert "sudo apt install gnupg gpgv" in problem.next_step


def test_program_that_hangs_is_stopped(
    keyring: Keyring,
    fake_gpgv: Callable[[str], None],
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake_gpgv(f"echo $$ > {temporary}/pid; exec sleep 1000")
    monkeypatch.setattr(gpg, "TIMEOUT_S", 0.5)

    problem = refusal(lambda: verify_clearsigned(good(), keyring, what="x"))

    assert problem.code == "gpg-timeout"
    assert os.listdir(temporary) == ["pid"]
    assert not Path("/proc", (temporary / "pid").read_text().strip()).exists()


def test_folder_that_cannot_be_made_is_no_bad_signature(
    keyring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))

    with pytest.raises(GpgProblem) as refused:
        verify_clearsigned(good(), keyring, what="x")

    assert refused.value.code == "gpg-failed"


GOODSIG = "GOODSIG {id} x\n"
VALIDSIG = "VALIDSIG {signer} 2026-01-01 1767225600 0 4 0 22 {hash} 01 {primary}\n"
LIES = {
    "an empty file": ("", 0, "signature-unreadable"),
    "good without its details": (GOODSIG, 0, "signature-unreadable"),
    "details without good": (VALIDSIG, 0, "signature-unreadable"),
    "details of a key not in the keyring": (
        GOODSIG + VALIDSIG.replace("{signer}", "F" * 40),
        0,
        "signature-unknown-key",
    ),
    "good by one key, details of another": (
        GOODSIG.replace("{id}", "F" * 16) + VALIDSIG,
        0,
        "signature-unknown-key",
    ),
    "another primary key": (
        GOODSIG + VALIDSIG.replace("{primary}", "F" * 40),
        0,
        "signature-unknown-key",
    ),
    "unknown hash": (GOODSIG + VALIDSIG.replace("{hash}", "99"), 0, "signature-weak-hash"),
    "no text": (GOODSIG + VALIDSIG, 0, "signature-unreadable"),
    "two texts": (
        "PLAINTEXT 74 0 \n" * 2 + GOODSIG + VALIDSIG,
        0,
        "signature-unreadable",
    ),
    "good, but exit code 1": ("PLAINTEXT 74 0 \n" + GOODSIG + VALIDSIG, 1, "signature-unreadable"),
    "good, but exit code 2": ("PLAINTEXT 74 0 \n" + GOODSIG + VALIDSIG, 2, "signature-unreadable"),
    "good, but an alarm": (
        "PLAINTEXT 74 0 \n" + GOODSIG + VALIDSIG + "ERROR x 1\n",
        0,
        "signature-unreadable",
    ),
    "good beside one that gpg missed, by a trusted key": (
        "PLAINTEXT 74 0 \n" + GOODSIG + VALIDSIG + "ERRSIG {id} 22 10 01 1767225600 9 {signer}\n",
        2,
        "signature-unreadable",
    ),
    "killed": ("PLAINTEXT 74 0 \n" + GOODSIG + VALIDSIG, "kill", "gpg-failed"),
}


def status_script(text: str, end: int | str, key: SigningKey | None = None) -> str:
    key = key or publisher()
    values = {"id": key.key_id, "hash": "10", "signer": key.fingerprint, "primary": key.fingerprint}
    lines = "".join(f"[GNUPG:] {line}\n" for line in text.format(**values).splitlines())
    finish = "kill -9 $$" if end == "kill" else f"exit {end}"
    return f"cat >/dev/null\nprintf '%s' '{lines}' >/dev/fd/$4\necho '{{}}'\n{finish}"


@pytest.mark.parametrize("name", LIES)
def test_only_a_complete_and_clean_verdict_counts(
    name: str, keyring: Keyring, fake_gpgv: Callable[[str], None]
) -> None:
    text, end, code = LIES[name]
    raw = good()
    fake_gpgv(status_script(text, end))

    assert refusal(lambda: verify_clearsigned(raw, keyring, what="x")).code == code


def test_key_that_is_not_for_signing_does_not_count(fake_gpgv: Callable[[str], None]) -> None:
    key = new_key(subkey="good")
    keyring = load_keyring(key.public)
    raw = clearsign(key, PAYLOAD)
    fake_gpgv(status_script("PLAINTEXT 74 0 \n" + GOODSIG + VALIDSIG, 0, key))

    problem = refusal(lambda: verify_clearsigned(raw, keyring, what="x"))

    assert problem.code == "key-cannot-sign"


def test_the_fake_that_tells_those_lies_can_also_tell_the_truth(
    keyring: Keyring, fake_gpgv: Callable[[str], None]
) -> None:
    raw = good()
    fake_gpgv(status_script("PLAINTEXT 74 0 \n" + GOODSIG + VALIDSIG, 0))

    assert verify_clearsigned(raw, keyring, what="x").payload == b"{}\n"
