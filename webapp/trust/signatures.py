# SPDX-License-Identifier: Apache-2.0
"""The strict verifier: what a trusted key signed, or one clear reason why not.

Two signatures, as during a publisher's key roll-over: the document is accepted
when at least one is good by a key of the keyring and each other one is by a key
that is merely unknown to us. It is refused when any signature is bad, expired,
or by an expired or revoked key (rule: strict-signatures).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from webapp.trust import cleartext, gpg
from webapp.trust.errors import SignatureProblem
from webapp.trust.keyrings import TROUBLES, KeyInfo, Keyring, describe_key, step_for

MAX_BYTES = 64 << 20
MAX_AHEAD = timedelta(days=1)  # clocks differ, but not by more than that
# RFC 4880 9.4 and RFC 9580 9.5, as VALIDSIG and ERRSIG give them.
STRONG_HASHES = {"8": "SHA-256", "9": "SHA-384", "10": "SHA-512"}
_WEAK_HASHES = {"1": "MD5", "2": "SHA-1", "3": "RIPEMD-160", "11": "SHA-224"}
_BINARY, _TEXT = "00", "01"  # signature types, RFC 4880 5.2.1
_MISSING_KEY = "9"  # why ERRSIG could not check, gpg's doc/DETAILS

_SHOWN = 8  # fingerprints in one message
_VERDICTS = frozenset(("GOODSIG", "BADSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG", "ERRSIG"))
_ALARMS = frozenset(("BADARMOR", "NODATA", "UNEXPECTED", "ERROR", "FAILURE"))
_SUSPECT = "Try again. If it persists, don't use this mirror until its publisher explains it."
_NEW_KEY = (
    "If the publisher has a new key, compare its fingerprint on a page you trust and add it "
    "to the keyring. Otherwise don't use this mirror."
)
_PLAIN = "Ask the publisher for a signature as gpg makes it by default."
# code: (what is wrong, what to do)
_WORDS = {
    "signature-bad": ("The document was changed after it was signed.", _SUSPECT),
    "signature-expired": ("The signature has expired.", _SUSPECT),
    "signature-unknown-key": ("The document is signed by an untrusted key.", _NEW_KEY),
    "signature-weak-hash": ("The signature uses a hash that can be forged.", _PLAIN),
    "signature-wrong-type": ("The signature's type doesn't cover every byte.", _PLAIN),
    "signature-unreadable": ("gpg couldn't check the signature.", _PLAIN),
    "signature-in-future": (
        "The signature is dated in the future.",
        "Check this server's clock. If it's right, contact the publisher.",
    ),
    **{
        code: (f"Signing key not accepted: {why}.", step_for(code))
        for code, why in TROUBLES.items()
    },
}
_BAD_VERDICTS = {
    "BADSIG": "signature-bad",
    "EXPSIG": "signature-expired",
    "EXPKEYSIG": "key-expired",
    "REVKEYSIG": "key-revoked",
}


@dataclass(frozen=True)
class Verified:
    """What was signed, by the primary key of which fingerprint, and when."""

    payload: bytes
    fingerprint: str
    signed_at: datetime


@dataclass(frozen=True)
class Claim:
    """One signature as gpg judged it; ``valid`` holds the fields of its VALIDSIG line."""

    verdict: str
    arguments: tuple[str, ...]
    valid: tuple[str, ...] = ()

    @property
    def signer(self) -> str:
        """The fingerprint where gpg knows it, else the key id."""
        if self.valid:
            return self.valid[0]
        has_fingerprint = self.verdict == "ERRSIG" and len(self.arguments) > 6
        return self.arguments[6] if has_fingerprint else self.arguments[0]

    def is_unknown(self, keyring: Keyring) -> bool:
        """Whether all that is wrong is that we do not have the key."""
        is_missing = self.verdict == "ERRSIG" and self.arguments[5:6] == (_MISSING_KEY,)
        return is_missing and not keyring.holds(self.signer)


def verify_clearsigned(
    raw: bytes,
    keyring: Keyring,
    *,
    what: str,
    now: datetime | None = None,
    max_bytes: int = MAX_BYTES,
) -> Verified:
    """Return the text that gpg verified; never a byte that it did not hand back.

    what: the URL or path, for a problem. Raises SignatureProblem, or GpgProblem when gpg
    itself failed (rule: only-signed-text).
    """
    _check_size(raw, max_bytes, what)
    cleartext.check_frame(raw, where=what)
    with gpg.private_home() as home:
        ring = gpg.write_file(home, "keyring.gpg", keyring.binary)
        outcome = gpg.run("gpgv", "--keyring", ring, "--output", "-", home=home, stdin=raw)
    return _judge(outcome, outcome.output, keyring, what, now or datetime.now(UTC), sig_type=_TEXT)


def verify_detached(
    raw: bytes,
    signature: bytes,
    keyring: Keyring,
    *,
    what: str,
    now: datetime | None = None,
    max_bytes: int = MAX_BYTES,
) -> Verified:
    """Return raw itself when the detached signature covers exactly these bytes.

    A text-mode signature is refused, as it leaves line endings open.
    """
    _check_size(raw, max_bytes, what)
    cleartext.check_detached(signature, where=what)
    with gpg.private_home() as home:
        ring = gpg.write_file(home, "keyring.gpg", keyring.binary)
        file = gpg.write_file(home, "document.sig", signature)
        outcome = gpg.run("gpgv", "--keyring", ring, file, "-", home=home, stdin=raw)
    return _judge(outcome, raw, keyring, what, now or datetime.now(UTC), sig_type=_BINARY)


def read_claims(statuses: Sequence[gpg.Status]) -> list[Claim]:
    """Collect gpg's verdict on each signature, in its order."""
    claims: list[Claim] = []
    for status in statuses:
        if status.keyword in _VERDICTS:
            claims.append(Claim(status.keyword, status.arguments or ("?",)))
        elif status.keyword == "VALIDSIG" and claims and not claims[-1].valid:
            last = claims[-1]
            claims[-1] = Claim(last.verdict, last.arguments, status.arguments)
    return claims


def _check_size(raw: bytes, max_bytes: int, what: str) -> None:
    if len(raw) > max_bytes:
        raise SignatureProblem(
            "The document is too large.",
            code="signature-too-large",
            where=what,
            expected=f"at most {max_bytes} bytes",
            got=f"{len(raw)} bytes",
            next_step="Check that this is the URL of a stream's index or products document.",
        )


def _judge(
    outcome: gpg.Outcome,
    payload: bytes,
    keyring: Keyring,
    what: str,
    now: datetime,
    *,
    sig_type: str,
) -> Verified:
    """Judge the result of gpg; the first thing that is wrong becomes the problem."""
    claims = read_claims(outcome.statuses)
    ours = [claim for claim in claims if not claim.is_unknown(keyring)]
    good = [_check(claim, keyring, what, now, sig_type) for claim in ours]
    if claims and not ours:
        raise _unknown(", ".join(sorted({claim.signer for claim in claims})), keyring, what)
    alarms = {status.keyword for status in outcome.statuses} & _ALARMS
    texts = sum(status.keyword == "PLAINTEXT" for status in outcome.statuses)
    # gpgv ends with 2 for an unknown key, too, however good the other signature is.
    fine_codes = (0,) if len(ours) == len(claims) else (0, 2)
    if not good or alarms or texts != (sig_type == _TEXT) or outcome.returncode not in fine_codes:
        got = ", ".join(sorted(alarms)) or f"exit code {outcome.returncode}, {len(good)} good"
        raise _problem("signature-unreadable", what, "good signatures of one text", got)
    return Verified(payload, *good[0])


def _check(
    claim: Claim, keyring: Keyring, what: str, now: datetime, sig_type: str
) -> tuple[str, datetime]:
    """The primary fingerprint and date of a good, strong, timely signature by a trusted key.

    Raises SignatureProblem for any other.
    """
    found = keyring.find(claim.signer)
    if claim.verdict in _BAD_VERDICTS:
        code = _BAD_VERDICTS[claim.verdict]
        by = describe_key(found[1]) if found else claim.signer
        raise _problem(code, what, "a good signature", f"one by {by}")
    for key in found or ():
        _check_key(key, what, now)
    if claim.verdict == "ERRSIG":
        _check_hash(claim.arguments[2:3], what)
    if claim.verdict != "GOODSIG" or len(claim.valid) < 10:
        raise _problem("signature-unreadable", what, "a good signature", f"one by {claim.signer}")
    names_agree = claim.signer.endswith(claim.arguments[0])
    if found is None or not names_agree or claim.valid[9] != found[0].fingerprint:
        raise _unknown(claim.signer, keyring, what)
    if not found[1].can_sign:
        raise _problem("key-cannot-sign", what, "a key for signing", describe_key(found[1]))
    _check_hash(claim.valid[7:8], what)
    if claim.valid[8] != sig_type:
        raise _problem("signature-wrong-type", what, f"type {sig_type}", f"type {claim.valid[8]}")
    signed_at = _time(claim.valid[2])
    if signed_at > now + MAX_AHEAD:
        until = f"at the latest {now + MAX_AHEAD:%Y-%m-%d %H:%M} UTC"
        raise _problem("signature-in-future", what, until, f"{signed_at:%Y-%m-%d %H:%M} UTC")
    if claim.valid[3] != "0" and _time(claim.valid[3]) <= now:
        ended = f"one that ended {_time(claim.valid[3]):%Y-%m-%d %H:%M} UTC"
        raise _problem("signature-expired", what, "a signature that is valid now", ended)
    return found[0].fingerprint, signed_at


def _unknown(signers: str, keyring: Keyring, what: str) -> SignatureProblem:
    trusted = ", ".join(keyring.fingerprints[:_SHOWN])
    if len(keyring.keys) > _SHOWN:
        trusted += f" or {len(keyring.keys) - _SHOWN} others"
    return _problem("signature-unknown-key", what, f"a signature by {trusted}", f"one by {signers}")


def _check_key(key: KeyInfo, what: str, now: datetime) -> None:
    if code := key.trouble(now):
        raise _problem(code, what, "a key that is valid now", describe_key(key))


def _check_hash(field: tuple[str, ...], what: str) -> None:
    number = field[0] if field else ""
    if number not in STRONG_HASHES:
        got = _WEAK_HASHES.get(number, f"hash number {number}")
        expected = ", ".join(STRONG_HASHES.values())
        raise _problem("signature-weak-hash", what, expected, got)


def _time(text: str) -> datetime:
    """Seconds since 1970, or ISO 8601 without punctuation; gpg may give either."""
    if "T" in text:
        return datetime.strptime(text, "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    return datetime.fromtimestamp(int(text), UTC)


def _problem(code: str, where: str, expected: str, got: str) -> SignatureProblem:
    what, next_step = _WORDS[code]
    return SignatureProblem(
        what, code=code, where=where, expected=expected, got=got, next_step=next_step
    )
