# SPDX-License-Identifier: Apache-2.0
"""Signatures of files for iPXE's ``imgverify``, made from their digests (rule: ipxe-imgverify)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from webapp.trust.errors import SigningProblem

MAX_BYTES = 1 << 20  # of a file with a key and its certificates
_BITS = 3072
_LASTS = timedelta(days=3650)
_OPTIONS = [
    pkcs7.PKCS7Options.DetachedSignature,
    pkcs7.PKCS7Options.Binary,
    # iPXE takes the signature as one of the file itself, not of signed attributes.
    pkcs7.PKCS7Options.NoAttributes,
]


@dataclass(frozen=True)
class Chain:
    """A certificate for code signing and those above it."""

    certificates: tuple[x509.Certificate, ...]

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the first certificate, in upper-case hex."""
        return self.certificates[0].fingerprint(hashes.SHA256()).hex().upper()

    @property
    def pem(self) -> bytes:
        """All of them, the first one first."""
        encoded = (one.public_bytes(serialization.Encoding.PEM) for one in self.certificates)
        return b"".join(encoded)


@dataclass(frozen=True)
class CodeKey:
    """A private key with its certificates."""

    private: rsa.RSAPrivateKey
    chain: Chain

    @property
    def secret(self) -> bytes:
        """The private key in PEM."""
        return self.private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


class Signer:
    """Signs files by their digests; one template serves all of them."""

    def __init__(self, key: CodeKey) -> None:
        self._key = key
        leaf, *others = key.chain.certificates
        builder = pkcs7.PKCS7SignatureBuilder().set_data(b"")
        builder = builder.add_signer(leaf, key.private, hashes.SHA256())
        for each in others:
            builder = builder.add_certificate(each)
        whole = builder.sign(serialization.Encoding.DER, _OPTIONS)
        # The signature's value has a fixed length and ends the structure.
        empty = hashes.Hash(hashes.SHA256()).finalize()
        end = self._value(empty)
        if not whole.endswith(end):
            raise AssertionError("a CMS signature that doesn't end in its value")
        self._head = whole[: -len(end)]

    def sign(self, sha256: str) -> bytes:
        """The detached signature, in DER, of the file with this digest."""
        return self._head + self._value(bytes.fromhex(sha256))

    def _value(self, digest: bytes) -> bytes:
        return self._key.private.sign(digest, padding.PKCS1v15(), Prehashed(hashes.SHA256()))


def new_key(name: str) -> CodeKey:
    """Make a key with a certificate, issued by a root whose own key is forgotten at once."""
    root_key, key = (rsa.generate_private_key(65537, _BITS) for _ in range(2))
    now = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    root_name, leaf_name = (_name(f"{name} {kind}"[:64]) for kind in ("CA", "code signing"))
    root = (
        _certificate(root_name, root_name, root_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    leaf = (
        _certificate(leaf_name, root_name, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    return CodeKey(key, Chain((leaf, root)))


def read_chain(pem: bytes, *, where: str) -> Chain:
    """Read the certificates, the key's own first. Raises SigningProblem."""
    try:
        chain = Chain(tuple(x509.load_pem_x509_certificates(pem)))
    except ValueError as error:
        raise _unfit(where, str(error)[:200]) from None
    own = chain.certificates[0]
    try:
        usage = own.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    if ExtendedKeyUsageOID.CODE_SIGNING not in usage:
        raise _unfit(where, "a certificate that isn't for code signing")
    if own.not_valid_after_utc < datetime.now(UTC):
        raise _unfit(where, f"a certificate that expired on {own.not_valid_after_utc:%Y-%m-%d}")
    return chain


def read_key(pem: bytes, *, where: str) -> CodeKey:
    """Read a private key and its certificates, its own first. Raises SigningProblem."""
    chain = read_chain(pem, where=where)
    try:
        private = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:
        raise _unfit(where, str(error)[:200]) from None
    if not isinstance(private, rsa.RSAPrivateKey):
        raise _unfit(where, "a key that isn't RSA")
    if chain.certificates[0].public_key() != private.public_key():
        raise _unfit(where, "a first certificate of another key")
    return CodeKey(private, chain)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: rsa.RSAPublicKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + _LASTS)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _unfit(where: str, got: str) -> SigningProblem:
    return SigningProblem(
        "This key can't sign files for iPXE.",
        where=where,
        expected="an RSA key in PEM without a passphrase, and its code signing certificates",
        got=got,
        next_step="Correct SLIPWAY_IMGVERIFY_KEY, or unset it to use Slipway's own key.",
    )
