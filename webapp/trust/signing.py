# SPDX-License-Identifier: Apache-2.0
"""Make keys and sign documents, with gpg or with a command that keeps the key elsewhere.

Each use has a private home of its own whose agent ends with it: a secret key is in
memory, and on a disk in readable form, only while it signs.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import gnupg

from webapp.trust import gpg
from webapp.trust.errors import GpgProblem, SignatureProblem, SigningProblem
from webapp.trust.keyrings import Keyring
from webapp.trust.signatures import verify_clearsigned, verify_detached

TIMEOUT_S = 60.0
_DIGEST = ["--digest-algo", "SHA512"]
_CLEAR, _DETACHED = "--clear-sign", "--detach-sign"
_KEY_STEP = "Check the free space of the temporary folder (TMPDIR), and that gnupg is installed."


@dataclass(frozen=True)
class KeyPair:
    """A new key; both halves are armored, the secret one under its passphrase if there is any."""

    fingerprint: str
    public: bytes
    secret: bytes


@dataclass(frozen=True)
class Signed:
    """A document with both kinds of signature that streams have."""

    clear: bytes  # the text with its signature: ``.sjson``
    detached: bytes  # the signature alone, armored: ``.json.gpg``


def new_key(name: str, passphrase: str = "") -> KeyPair:
    """Make a key that signs and never expires. Raises SigningProblem or GpgProblem."""
    with _home() as home:
        options = {"passphrase": passphrase} if passphrase else {"no_protection": True}
        made = home.gen_key(
            home.gen_key_input(
                key_type="EDDSA", key_curve="ed25519", key_usage="sign", name_real=name,
                name_email="mirror@slipway.invalid", name_comment="", expire_date=0, **options,
            )
        )  # fmt: skip
        found = str(made.fingerprint or "")
        public = home.export_keys(found) if found else ""
        secret = found and home.export_keys(
            found, secret=True, passphrase=passphrase or None, expect_passphrase=bool(passphrase)
        )
    if not public or not secret:
        raise SigningProblem("gpg couldn't create a signing key.", next_step=_KEY_STEP)
    return KeyPair(found, public.encode(), secret.encode())


def sign_with_key(
    texts: Sequence[bytes], secret: bytes, keyring: Keyring, passphrase: str = ""
) -> list[Signed]:
    """Sign each text with a secret key. Raises SigningProblem or GpgProblem."""
    with _home() as home:
        home.import_keys(secret, passphrase=passphrase or None)

        def run(text: bytes, how: str) -> bytes:
            is_clear = how == _CLEAR
            done = home.sign(
                text,
                keyid=keyring.fingerprints[0],
                passphrase=passphrase or None,
                clearsign=is_clear,
                detach=not is_clear,
                extra_args=_DIGEST,
            )
            return bytes(done.data or b"")

        return [_signed(text, run, keyring, "") for text in texts]


def sign_with_command(texts: Sequence[bytes], command: str, keyring: Keyring) -> list[Signed]:
    """Sign each text with a command, run without a shell.

    It gets ``--clear-sign`` or ``--detach-sign`` as its last argument and the text on
    stdin; it writes the armored result to stdout. Raises SigningProblem or GpgProblem.
    """
    words = shlex.split(command)

    def run(text: bytes, how: str) -> bytes:
        return _output([*words, how], text)

    return [_signed(text, run, keyring, words[0]) for text in texts]


def _signed(
    text: bytes, run: Callable[[bytes, str], bytes], keyring: Keyring, where: str
) -> Signed:
    """Both signatures of a text, verified as a reader does."""
    clear, detached = run(text, _CLEAR), run(text, _DETACHED)
    if not clear or not detached:
        raise SigningProblem(
            "Signing gave no signature.",
            where=where,
            expected="a signature",
            got="nothing",
            next_step="Check the signing key, its passphrase and the signing command.",
        )
    try:
        shown = verify_clearsigned(clear, keyring, what=where)
        verify_detached(text, detached, keyring, what=where)
    except GpgProblem:
        raise
    except SignatureProblem as problem:
        raise _unfit(where, f"{problem.what} {problem.got}".strip()) from problem
    if shown.payload.rstrip() != text.rstrip():
        raise _unfit(where, "a signature of another text")
    return Signed(clear, detached)


def _unfit(where: str, got: str) -> SigningProblem:
    return SigningProblem(
        "What was signed doesn't verify, so it isn't published.",
        where=where,
        expected="a good signature by the published key",
        got=got,
        next_step="Check SLIPWAY_SIGN_COMMAND and SLIPWAY_SIGN_KEY.",
    )


def _output(argv: list[str], text: bytes) -> bytes:
    """Run the command with a time limit; what it leaves behind ends with it."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SLIPWAY_")}
    try:
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as source:
            source.write(text)
            source.seek(0)
            process = subprocess.Popen(
                argv,
                stdin=source,
                stdout=output,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
            try:
                code = process.wait(TIMEOUT_S)
            except subprocess.TimeoutExpired:
                raise _command_failed(argv[0], f"none within {TIMEOUT_S:g} seconds") from None
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
            if code:
                raise _command_failed(argv[0], f"exit code {code}")
            output.seek(0)
            return output.read(2 * len(text) + (1 << 20))
    except OSError as error:
        raise _command_failed(argv[0], error.strerror or type(error).__name__) from None


def _command_failed(program: str, got: str) -> SigningProblem:
    return SigningProblem(
        "The signing command failed.",
        where=program,
        expected="a signature",
        got=got,
        next_step="Run the command of SLIPWAY_SIGN_COMMAND by hand. The last signed stream stays.",
    )


@contextmanager
def _home() -> Iterator[gnupg.GPG]:
    """A private home of gpg, whose agent ends with it."""
    with gpg.private_home() as folder:
        # Else the agent takes seconds to find out how slow to be with a passphrase.
        gpg.write_file(folder, "gpg-agent.conf", b"s2k-count 20000000\n")
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(folder),
            "GNUPGHOME": str(folder),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
        }
        try:
            yield gnupg.GPG(
                gnupghome=str(folder),
                env=environment,
                options=["--no-options", "--pinentry-mode", "loopback"],
            )
        except OSError as error:  # gpg isn't there
            raise SigningProblem(
                "gpg can't be run.",
                expected="gpg on the PATH",
                got=error.strerror or type(error).__name__,
                next_step="Install it with: sudo apt install gnupg gpgv",
            ) from error
        finally:
            _end_agent(folder, environment)


def _end_agent(folder: Path, environment: dict[str, str]) -> None:
    command = ["gpgconf", "--homedir", str(folder), "--kill", "all"]
    try:
        subprocess.run(command, env=environment, capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        pass  # an agent ends by itself once its folder is gone
