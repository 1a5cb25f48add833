# SPDX-License-Identifier: Apache-2.0
"""Servers that no HTTP library would let one write, a tunnelling proxy, and certificates."""

from __future__ import annotations

import functools
import re
import selectors
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Talk = Callable[[socket.socket], None]


class RawServer:
    """Runs ``talk`` for each connection; what it sends is its own affair."""

    def __init__(self, talk: Talk, host: str = "127.0.0.1") -> None:
        self._talk = talk
        self._socket = socket.create_server((host, 0))
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.port = self._socket.getsockname()[1]
        self.url = f"http://{host}:{self.port}/"
        self.accepted = 0

    def __enter__(self) -> RawServer:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        # shutdown wakes accept; close alone would leave it waiting.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in self._connections:
            with _ignoring_errors():
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        for connection in self._connections:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.accepted += 1
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with _ignoring_errors():
            self._talk(connection)
            connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def _ignoring_errors() -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError):
        return


def request_of(connection: socket.socket) -> bytes:
    """Read one request's head."""
    head = b""
    while b"\r\n\r\n" not in head:
        piece = connection.recv(4096)
        if not piece:
            raise OSError("the client left")
        head += piece
    return head


def saying(*parts: bytes, endless: bytes = b"") -> Talk:
    """Answer one request with these bytes, then with ``endless`` until the client leaves."""

    def talk(connection: socket.socket) -> None:
        request_of(connection)
        for part in parts:
            connection.sendall(part)
        while endless:
            connection.sendall(endless)

    return talk


def tunnelling(seen: list[str], *, login: str = "") -> Talk:
    """A proxy that knows CONNECT only; writes down where to and with which login."""

    def talk(connection: socket.socket) -> None:
        head = request_of(connection).decode()
        match = re.match(r"CONNECT ([\d.]+):(\d+) ", head)
        given = re.search(r"Proxy-Authorization: (.*)\r", head)
        if match is None:
            connection.sendall(b"HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n")
            return
        seen.append(f"{match[1]}:{match[2]}")
        if login and (given is None or given[1] != login):
            connection.sendall(b"HTTP/1.1 407 Login SECRET-BODY\r\nContent-Length: 0\r\n\r\n")
            return
        with socket.create_connection((match[1], int(match[2])), 5) as target:
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            pairs = {connection: target, target: connection}
            selector = selectors.DefaultSelector()
            for one in pairs:
                selector.register(one, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select(5):
                    ready = cast(socket.socket, key.fileobj)
                    data = ready.recv(1 << 16)
                    if not data:
                        return
                    pairs[ready].sendall(data)

    return talk


# -- certificates


@functools.cache
def _authority() -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    return key, _certificate("Test CA", key, key, None, days=30, names=())


def _certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    *,
    days: int,
    names: tuple[x509.GeneralName, ...],
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=60))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(signer, hashes.SHA256())


def ca_file(folder: Path) -> Path:
    """The file of the CA that signed all certificates here."""
    path = folder / "ca.pem"
    path.write_bytes(_authority()[1].public_bytes(serialization.Encoding.PEM))
    return path


def server_context(folder: Path, *, host: str = "127.0.0.1", days: int = 30) -> ssl.SSLContext:
    """A server's TLS context with a certificate for ``host``; negative days: expired."""
    authority_key, authority = _authority()
    key = ec.generate_private_key(ec.SECP256R1())
    try:
        name: x509.GeneralName = x509.IPAddress(ip_address(host))
    except ValueError:
        name = x509.DNSName(host)
    certificate = _certificate("server", key, authority_key, authority, days=days, names=(name,))
    path = folder / f"server-{host}-{days}.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def client_pair(subject: str = "lab client", *, days: int = 30) -> tuple[str, str]:
    """A client's certificate by the same CA, and its key; both PEM. Negative days: expired."""
    authority_key, authority = _authority()
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _certificate(subject, key, authority_key, authority, days=days, names=())
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), pem_of(key)


def pem_of(key: ec.EllipticCurvePrivateKey, passphrase: bytes = b"") -> str:
    """A key as PEM text."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    ).decode()


def asking_context(folder: Path) -> ssl.SSLContext:
    """A server's TLS context that demands a client certificate of our CA."""
    context = server_context(folder)
    context.load_verify_locations(ca_file(folder))
    context.verify_mode = ssl.CERT_REQUIRED
    return context
