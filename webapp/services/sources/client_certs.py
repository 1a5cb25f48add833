# SPDX-License-Identifier: Apache-2.0
"""Client certificates: a certificate and its key, checked before they're stored. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

MAX_PEM_BYTES = 64 << 10
CERT, KEY = "client_cert", "client_key"
_KEY_BLOCK = "PRIVATE KEY-----"


class BadPair(ValueError):
    """The field that is wrong, ``client_cert`` or ``client_key``, and why."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class ClientCert:
    """A certificate with its key, both PEM text. certificate: the chain, without any key."""

    certificate: str
    key: str


def checked(certificate: str, key: str, now: datetime | None) -> ClientCert:
    """Check that the two belong together; the key may be in the certificate's text.

    now: to refuse one that has expired; None lets it pass. Raises BadPair.
    """
    key = key or (certificate if _KEY_BLOCK in certificate else "")
    if not certificate:
        raise BadPair(CERT, "Add the certificate of this key as well.")
    if not key:
        raise BadPair(KEY, "Add the private key of the certificate as well.")
    for field, text in ((CERT, certificate), (KEY, key)):
        if len(text) > MAX_PEM_BYTES:
            raise BadPair(field, f"This file is larger than {MAX_PEM_BYTES >> 10} KiB.")
    try:
        chain = x509.load_pem_x509_certificates(certificate.encode())
        first, ends = chain[0], chain[0].not_valid_after_utc
        public = first.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        raise BadPair(CERT, "This isn't a certificate in PEM format.") from None
    if now is not None and ends <= now:
        raise BadPair(CERT, f"This certificate expired on {ends:%Y-%m-%d}.")
    if _own_key(key) != public:
        raise BadPair(KEY, "This key doesn't belong to the certificate.")
    text = "".join(one.public_bytes(Encoding.PEM).decode() for one in chain)
    return ClientCert(text, key)


def subject_of(certificate: str) -> str:
    """Whose certificate it is, "" for none."""
    if not certificate:
        return ""
    return x509.load_pem_x509_certificates(certificate.encode())[0].subject.rfc4514_string()


def ends_at(certificate: str) -> datetime | None:
    """When a checked certificate expires, None for none."""
    if not certificate:
        return None
    return x509.load_pem_x509_certificates(certificate.encode())[0].not_valid_after_utc


def _own_key(text: str) -> bytes:
    """The public half of a private key."""
    try:
        found = serialization.load_pem_private_key(text.encode(), password=None)
    except TypeError:
        raise BadPair(
            KEY, "This key has a passphrase. Remove it first, e.g. with openssl pkey."
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise BadPair(KEY, "This isn't a private key in PEM format.") from None
    return found.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
