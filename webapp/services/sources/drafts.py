# SPDX-License-Identifier: Apache-2.0
"""A draft of a boot source, tested before it is trusted or saved."""

from __future__ import annotations

import os  # os.path: pathlib raises for a name that is too long or not allowed
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from sqlalchemy import select

from webapp.errors import InvalidFields, Problem
from webapp.extensions import db, settings
from webapp.fetch import is_file_url, is_in_clear
from webapp.models import BootSource, utcnow
from webapp.services.sources import client_certs
from webapp.services.system import fetching, proxies, schedules, secrets
from webapp.streams.urls import StreamURL, normalise
from webapp.trust.errors import KeyringProblem
from webapp.trust.keyrings import Keyring, decoded, load_keyring, read_keyring

# The key that signs images.maas.io, to compare a keyring with (issue of trust: shown, not assumed).
MAAS_IO_FINGERPRINT = "4A3CE3CD565D7EB5C810E2B97FF3F408476CF100"
MAAS_KEYRING = "ubuntu-cloudimage-keyring.gpg"
MAX_URL = 2000
MAX_CONFIRMED = 1000
MAX_MIRRORS = 8
MAX_PRIORITY = 1_000_000
PRIORITY_RANGE = f"Enter a whole number from {-MAX_PRIORITY:,} to {MAX_PRIORITY:,}."


@dataclass(frozen=True)
class SourceDraft:
    """What a user or a script enters for a source; secrets are in clear text here.

    proxy_url: as it was shown, it means the stored one with its password.
    """

    url: str
    name: str = ""
    priority: int | None = None  # None: above all others
    is_enabled: bool = True
    keyring_filename: str = ""
    keyring_data: bytes | None = None
    is_unsigned: bool = False
    proxy_url: str = field(default="", repr=False)
    is_direct: bool = False  # no proxy, not even the one of the settings
    ca_file: str = ""
    client_cert: str = ""  # PEM; it may hold the key as well
    client_key: str = field(default="", repr=False)
    auth_kind: str = "none"
    auth_username: str = ""
    auth_secret: str = field(default="", repr=False)
    auth_in_clear: bool = False
    schedule: str = ""  # of its imports, see services.system.schedules; "": with all others
    mirrors: Sequence[str] = ()  # further addresses of the same signed stream
    confirmed_products: Sequence[str] = ()  # index and documents may disagree on these


# Where MAAS has the keyring of images.maas.io, as a snap and as a deb. Clients write these
# paths without looking, so they mean the default keyring here (rule: rest-default-keyring).
MAAS_KEYRINGS = frozenset(
    {
        f"/snap/maas/current/usr/share/keyrings/{MAAS_KEYRING}",
        f"/usr/share/keyrings/{MAAS_KEYRING}",
    }
)


def keyring_file(path: str) -> str:
    """The file that a keyring path means on this server. Raises KeyringProblem if it's missing."""
    if os.path.exists(path):
        return path
    default = settings().default_keyring
    if path in MAAS_KEYRINGS and os.path.exists(default):
        return default
    raise missing_keyring(path)


def check(draft: SourceDraft, source_id: int | None = None) -> tuple[SourceDraft, Keyring | None]:
    """Normalise a draft and test its keyring; raises InvalidFields, touches no network."""
    problems: dict[str, list[str]] = {}
    draft = replace(
        draft,
        url=_checked_url(draft.url, source_id, problems),
        proxy_url=_unmasked(draft.proxy_url, source_id),
        schedule=draft.schedule.strip(),
        mirrors=_checked_mirrors(draft.mirrors, problems),
    )
    draft = replace(draft, mirrors=[url for url in draft.mirrors if url != draft.url])
    if draft.mirrors and draft.is_unsigned:
        problems["mirrors"] = ["Only a signed source can have mirrors."]
    if draft.keyring_data:
        draft = replace(draft, keyring_data=decoded(draft.keyring_data))
    keyring = None
    if draft.keyring_filename and draft.keyring_data:
        problems["__all__"] = ["Only one of keyring_filename or keyring_data can be specified."]
    elif not draft.is_unsigned and not draft.keyring_filename and not draft.keyring_data:
        problems["__all__"] = ["One of keyring_data or keyring_filename must be specified."]
    elif not draft.is_unsigned:
        keyring = _tested_keyring(draft, problems)
    if draft.is_unsigned:
        draft = replace(draft, keyring_filename="", keyring_data=None)
    elif draft.url and not normalise(draft.url).is_signed:
        problems["url"] = [
            "This index isn't signed. Use the URL of the signed one (index.sjson), "
            "or confirm that the source is unsigned."
        ]
    if abs(draft.priority or 0) > MAX_PRIORITY:
        problems["priority"] = [PRIORITY_RANGE]
    if len(draft.confirmed_products) > MAX_CONFIRMED:
        problems["confirmed_products"] = [f"Confirm at most {MAX_CONFIRMED} products."]
    try:
        schedules.parse(draft.schedule)
    except ValueError as error:
        problems["schedule"] = [f"{error}."]
    _check_route(draft, problems)
    draft = _with_client_cert(draft, source_id, problems)
    if problems:
        raise InvalidFields(problems)
    return draft, keyring


def _checked_url(url: str, source_id: int | None, problems: dict[str, list[str]]) -> str:
    if not url.strip():
        problems["url"] = ["This field is required."]
        return ""
    try:
        normal = _allowed(url.strip())
    except Problem as problem:
        problems["url"] = ["Enter a valid URL.", problem.what]
        if problem.code == "folder-refused":
            problems["url"] = [f"{problem.what} {problem.next_step}"]
        return ""
    address = normal.url
    if len(address) > MAX_URL:
        problems["url"] = [f"Ensure this value has at most {MAX_URL} characters."]
        return ""
    taken = db.session.scalar(
        select(BootSource.id).where(BootSource.url == address, BootSource.id != (source_id or 0))
    )
    if taken is not None:
        problems["url"] = ["Boot source with this Url already exists."]
    return address


def _allowed(url: str) -> StreamURL:
    """The one spelling of a URL. Raises a Problem, also for a folder that isn't allowed."""
    normal = normalise(url)
    if is_file_url(normal.url):
        fetching.folders().check(normal.url)
    return normal


def _checked_mirrors(urls: Sequence[str], problems: dict[str, list[str]]) -> tuple[str, ...]:
    found = []
    for url in urls[: MAX_MIRRORS + 1]:
        try:
            normal = _allowed(url)
        except Problem as problem:
            problems["mirrors"] = [f"{url[:100]!r}: {problem.what}"]
            return ()
        if len(normal.url) > MAX_URL:
            problems["mirrors"] = [f"Ensure each value has at most {MAX_URL} characters."]
            return ()
        found.append(normal.url)
    if len(found) > MAX_MIRRORS:
        problems["mirrors"] = [f"Enter at most {MAX_MIRRORS} mirrors."]
    return tuple(dict.fromkeys(found))


def _unmasked(address: str, source_id: int | None) -> str:
    """The stored proxy of a source with its login, if that is what was shown."""
    if not proxies.is_masked(address) or source_id is None:
        return address
    source = db.session.get(BootSource, source_id)
    if source is None or source.proxy_url != address:
        return address
    return proxies.join(address, secrets.unseal(source.proxy_login))


def _tested_keyring(draft: SourceDraft, problems: dict[str, list[str]]) -> Keyring | None:
    try:
        if draft.keyring_data:
            return load_keyring(draft.keyring_data)
        return read_keyring(keyring_file(draft.keyring_filename))
    except Problem as problem:
        name = "keyring_data" if draft.keyring_data else "keyring_filename"
        problems[name] = [str(problem)]
        return None


def missing_keyring(path: str) -> KeyringProblem:
    """The problem of a keyring file that is not there, with the three ways out."""
    fingerprint = maas_io_key(keyring_filename=path)
    return KeyringProblem(
        "The keyring file of this boot source doesn't exist on this server.",
        code="keyring-missing",
        where=path,
        expected="a file with the public keys that sign the source",
        got="no such file",
        next_step=(
            "Install it (on Ubuntu: apt install ubuntu-keyring), or paste or upload the public "
            "key on the source's page, or give the path of another keyring file."
            + (
                f" Images from images.maas.io are signed by {fingerprint}: verify the "
                "fingerprint before you trust a key."
                if fingerprint
                else ""
            )
        ),
    )


def maas_io_key(url: str = "", keyring_filename: str = "") -> str:
    """The fingerprint of the key that signs images.maas.io, if a source has to do with it."""
    is_meant = (
        urlsplit(url).hostname == "images.maas.io"
        or os.path.basename(keyring_filename) == MAAS_KEYRING
    )
    return grouped(MAAS_IO_FINGERPRINT) if is_meant else ""


def grouped(fingerprint: str) -> str:
    """A fingerprint in groups of four, for comparing it by eye."""
    return " ".join(fingerprint[i : i + 4] for i in range(0, len(fingerprint), 4))


def _with_client_cert(
    draft: SourceDraft, source_id: int | None, problems: dict[str, list[str]]
) -> SourceDraft:
    """The draft with certificate and key apart, once they belong together.

    One that expired stays while other things of its source are changed.
    """
    if not (draft.client_cert or draft.client_key):
        return draft
    source = db.session.get(BootSource, source_id) if source_id is not None else None
    is_kept = source is not None and source.client_cert == draft.client_cert
    try:
        now = None if is_kept else utcnow()
        found = client_certs.checked(draft.client_cert, draft.client_key, now)
    except client_certs.BadPair as problem:
        problems[problem.field] = [str(problem)]
        return draft
    if all(is_in_clear(url) for url in (draft.url, *draft.mirrors)):
        problems[client_certs.CERT] = ["A client certificate needs an https URL."]
    return replace(draft, client_cert=found.certificate, client_key=found.key)


def _check_route(draft: SourceDraft, problems: dict[str, list[str]]) -> None:
    if draft.proxy_url and draft.is_direct:
        problems["proxy_url"] = ["Use either a proxy or a direct connection."]
    elif draft.proxy_url and not proxies.is_proxy(draft.proxy_url):
        problems["proxy_url"] = ["Enter the proxy as http://host:port/."]
    elif proxies.is_masked(draft.proxy_url):
        problems["proxy_url"] = [proxies.AGAIN]
    if draft.ca_file and not os.path.isfile(draft.ca_file):
        problems["ca_file"] = ["This file doesn't exist on this server."]
    if draft.auth_kind not in ("none", "basic", "bearer"):
        problems["auth_kind"] = ["Select none, basic or bearer."]
    elif draft.auth_kind == "basic" and not draft.auth_username:
        problems["auth_username"] = ["Enter the user name."]
    if draft.auth_kind in ("basic", "bearer") and not draft.auth_secret:
        problems["auth_secret"] = ["Enter the password or token."]
    if draft.auth_kind != "none" and is_in_clear(draft.url) and not draft.auth_in_clear:
        problems["auth_in_clear"] = [
            "Over http, anyone in between can read these credentials. Use an https URL, "
            "or confirm that you accept this."
        ]
