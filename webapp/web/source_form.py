# SPDX-License-Identifier: Apache-2.0
"""The form of a boot source, and how what was typed travels to the preview and back.

A preview saves nothing, so the page itself carries the draft, encrypted: no
secret is shown, and what was previewed can't be altered.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from flask import request
from flask_wtf import FlaskForm
from flask_wtf.file import FileField
from wtforms import (
    BooleanField,
    HiddenField,
    IntegerField,
    PasswordField,
    RadioField,
    StringField,
    TextAreaField,
)
from wtforms.fields import SelectChoice
from wtforms.validators import Length, NumberRange, Optional

from webapp.errors import InvalidFields, Problem
from webapp.models import BootSource
from webapp.services.sources.client_certs import MAX_PEM_BYTES
from webapp.services.sources.drafts import MAX_PRIORITY, PRIORITY_RANGE, SourceDraft
from webapp.services.system import proxies, secrets

MAAS_IO = "https://images.maas.io/ephemeral-v3/"
STREAMS = ("stable", "daily", "candidate")
DRAFT_MAX_AGE_S = 3600
# The words of REST 2.0 as users read them here.
WORDS = {
    "This field is required.": "Enter the URL of the mirror.",
    "Boot source with this Url already exists.": "A boot source with this URL already exists.",
    "One of keyring_data or keyring_filename must be specified.": (
        "Choose a keyring: a path, a file or a pasted key."
    ),
}


@dataclass(frozen=True)
class StreamChoice:
    """A stream to choose."""

    value: str
    label: str
    help: str


STREAM_CHOICES = (
    StreamChoice("stable", "maas.io stable", "Tested images. Recommended."),
    StreamChoice("daily", "maas.io daily", "Rebuilt daily with the latest fixes."),
    StreamChoice("candidate", "maas.io candidate", "Release candidates."),
    StreamChoice("custom", "Custom", "Your own mirror or a third-party one."),
)


class SourceForm(FlaskForm):
    """What a source is; which of the keyring fields counts is up to ``draft_from``."""

    stream = RadioField(
        "Where images come from",
        choices=[SelectChoice(value, value) for value in (*STREAMS, "custom")],
        default="stable",
    )
    url = StringField("Mirror URL", validators=[Optional(), Length(max=2000)])
    keyring_filename = StringField("Keyring path", validators=[Optional(), Length(max=4096)])
    keyring_file = FileField("Keyring file")
    keyring_text = TextAreaField("Keyring contents", validators=[Optional(), Length(max=1 << 20)])
    kept = HiddenField()  # sealed: an uploaded keyring and a password, which no page shows
    is_unsigned = BooleanField("I accept images from this source without a signature")
    unsigned_host = StringField("Type the host name to confirm", validators=[Optional()])
    name = StringField("Name", validators=[Optional(), Length(max=80)])
    priority = IntegerField(
        "Priority",
        validators=[Optional(), NumberRange(-MAX_PRIORITY, MAX_PRIORITY, PRIORITY_RANGE)],
    )
    schedule = StringField("Schedule", validators=[Optional(), Length(max=100)])
    mirrors = TextAreaField("Mirrors", validators=[Optional(), Length(max=20_000)])
    is_direct = BooleanField("Connect without a proxy, even if the settings have one")
    proxy_url = StringField("Proxy", validators=[Optional(), Length(max=2000)])
    ca_file = StringField("CA file", validators=[Optional(), Length(max=4096)])
    client_cert = FileField("Client certificate")
    client_key = FileField("Key of the client certificate")
    drops_client_cert = BooleanField("Remove the client certificate")
    auth_kind = RadioField(
        "Authentication",
        choices=[
            SelectChoice("none", "None"),
            SelectChoice("basic", "User name and password"),
            SelectChoice("bearer", "Bearer token"),
        ],
        default="none",
    )
    auth_username = StringField("User name", validators=[Optional(), Length(max=200)])
    auth_secret = PasswordField("Password or token", validators=[Optional(), Length(max=4096)])
    accepts = BooleanField("Accept this state")
    auth_in_clear = BooleanField("Allow sending over plain http (can be intercepted)")

    has_client_cert = False  # nor is a key
    has_keyring = False  # one that is not shown: it came as a binary file
    streams = STREAM_CHOICES

    @property
    def keyring_help(self) -> str:
        """What choosing a file does."""
        if self.has_keyring:
            return "A keyring is already stored. Choose a file only to replace it."
        return "A public key or keyring from your computer, binary or armored."

    @property
    def client_cert_help(self) -> str:
        """What choosing one does."""
        if self.has_client_cert:
            return "One is stored. Choose a file only to replace it."
        return "A PEM file, for a mirror that asks for one. It may hold the key as well."

    @property
    def is_advanced(self) -> bool:
        """Whether the advanced options matter at once: one is set, or has an error."""
        fields = (self.is_unsigned, self.schedule, self.mirrors, self.is_direct, self.proxy_url,
                  self.ca_file, self.client_cert, self.client_key)  # fmt: skip
        checked = (*fields, self.auth_username, self.auth_secret, self.unsigned_host)
        has_errors = any(field.errors for field in (*checked, self.name, self.priority))
        return has_errors or self.auth_kind.data != "none" or any(field.data for field in fields)

    def priority_help(self, others: Iterable[BootSource]) -> str:
        """How priorities work, and which are taken."""
        taken = ", ".join(str(source.priority) for source in others)
        words = "If sources overlap, the highest priority wins. Leave empty for the highest."
        return f"{words} In use: {taken}." if taken else words


@dataclass(frozen=True)
class Kept:
    """What a form holds without showing it; a secret is for its own address only."""

    keyring: bytes = b""
    secret: str = ""
    origin: str = ""
    proxy: str = ""
    url: str = ""
    confirmed: tuple[str, ...] = ()
    client_cert: str = ""
    client_key: str = ""


def form_of(given: SourceDraft | BootSource) -> SourceForm:
    """The form filled with a draft or a source, but for its secrets."""
    stream = next((s for s in STREAMS if given.url == f"{MAAS_IO}{s}/"), "custom")
    form = SourceForm(formdata=None, obj=given, stream=stream, auth_secret="")
    form.proxy_url.data = proxies.shown(given.proxy_url)
    form.mirrors.data = "\n".join(given.mirrors)
    _show_keyring(form, given.keyring_data or b"")
    form.has_client_cert = bool(given.client_cert)
    form.client_cert.data = form.client_key.data = None
    return form


def carry(form: SourceForm, draft: SourceDraft, *, is_keyring_bad: bool = False) -> SourceForm:
    """Let the form come again with all that was given, also what it does not show."""
    keyring = draft.keyring_data or b""
    if is_keyring_bad:
        if b"PRIVATE KEY" in keyring:
            form.keyring_text.data = ""
        keyring = b""
    else:
        _show_keyring(form, keyring)
    kept = {
        "keyring": base64.b64encode(keyring if form.has_keyring else b"").decode(),
        "secret": draft.auth_secret,
        "origin": _origin(draft.url),
        "proxy": draft.proxy_url,
        "url": draft.url,
        "confirmed": list(draft.confirmed_products),
        "client_cert": draft.client_cert,
        "client_key": draft.client_key,
    }
    form.has_client_cert = bool(draft.client_cert)
    form.proxy_url.data = proxies.shown(draft.proxy_url)
    form.kept.data = secrets.seal(json.dumps({"kept": kept}))
    return form


def _show_keyring(form: SourceForm, keyring: bytes) -> None:
    if keyring.lstrip().startswith(b"-----BEGIN PGP PUBLIC KEY"):
        form.keyring_text.data = keyring.decode("ascii", "replace")
    elif keyring:
        form.has_keyring = True
        form.keyring_filename.data = ""  # or the path would win when the form comes again


def draft_from(form: SourceForm, source: BootSource | None) -> SourceDraft:
    """The draft that the form describes.

    source: the one that is changed, whose keyring and password stay unless given again.
    """
    stream = form.stream.data
    url = (form.url.data or "").strip() if stream == "custom" else f"{MAAS_IO}{stream}/"
    kept = _kept(form, source)
    upload = form.keyring_file.data
    data = upload.read() if upload else b""
    data = data or (form.keyring_text.data or "").strip().encode()
    path = (form.keyring_filename.data or "").strip()
    if not data and not path:
        data = kept.keyring
    priority = form.priority.data
    client_cert, client_key = _client_pair(form, kept)
    proxy_url = (form.proxy_url.data or "").strip()
    return SourceDraft(
        url=url,
        name=form.name.data or ("" if stream == "custom" else f"maas.io {stream}"),
        priority=source.priority if priority is None and source else priority,
        is_enabled=source.is_enabled if source else True,
        keyring_filename="" if data else path,
        keyring_data=data or None,
        is_unsigned=bool(form.is_unsigned.data),
        is_direct=bool(form.is_direct.data),
        mirrors=tuple((form.mirrors.data or "").split()),
        proxy_url=kept.proxy if proxy_url == proxies.shown(kept.proxy) else proxy_url,
        ca_file=form.ca_file.data or "",
        client_cert=client_cert,
        client_key=client_key,
        schedule=form.schedule.data or "",
        auth_kind=form.auth_kind.data or "none",
        auth_username=form.auth_username.data or "",
        # A kept password goes to the host that it was given for, and to no other.
        auth_secret=form.auth_secret.data or (kept.secret if kept.origin == _origin(url) else ""),
        auth_in_clear=bool(form.auth_in_clear.data),
        confirmed_products=_confirmed(form, source, kept, url),
    )


def _client_pair(form: SourceForm, kept: Kept) -> tuple[str, str]:
    """Certificate and key as they were chosen, else those that are stored."""
    chosen = [field.data.read(MAX_PEM_BYTES + 1).decode(errors="replace") if field.data else ""
              for field in (form.client_cert, form.client_key)]  # fmt: skip
    if any(chosen):
        return chosen[0], chosen[1]
    return ("", "") if form.drops_client_cert.data else (kept.client_cert, kept.client_key)


def _confirmed(
    form: SourceForm, source: BootSource | None, kept: Kept, url: str
) -> tuple[str, ...]:
    """Products that were accepted: before, in this form for the same URL, and just now."""
    before = source.confirmed_products if source else ()
    carried = kept.confirmed if kept.url == url else ()
    now = request.form.getlist("differing") if form.accepts.data else []
    return tuple(dict.fromkeys([*before, *carried, *now]))


def check_consent(form: SourceForm, draft: SourceDraft) -> None:
    """An unsigned source is consented to by typing its host name (trust 2.2)."""
    host = _origin(draft.url).partition("://")[2].rpartition("@")[2]
    name = re.sub(r":\d*$", "", host)
    typed = (form.unsigned_host.data or "").strip().lower()
    # Without a host the address is wrong, which its own field reports.
    if draft.is_unsigned and host and typed not in (host, name):
        raise InvalidFields({"unsigned_host": [f"Type {name} to confirm."]})


def show_errors(form: SourceForm, problem: InvalidFields) -> None:
    """Put what a service found at the fields it is about."""
    has_text = bool(form.keyring_text.data)
    names = {
        "keyring_data": "keyring_text" if has_text else "keyring_file",
        "__all__": "keyring_filename",
        "auth_in_clear": "auth_secret",
    }
    for name, messages in problem.fields.items():
        field = form._fields.get(names.get(name, name)) or form.url
        field.errors = [*field.errors, *(WORDS.get(message, message) for message in messages)]


def seal_draft(draft: SourceDraft) -> str:
    """A draft as the preview's page carries it."""
    values = asdict(draft)
    values["keyring_data"] = base64.b64encode(draft.keyring_data or b"").decode()
    return secrets.seal(json.dumps({"draft": values}))


def open_draft(sealed: str) -> SourceDraft:
    """The previewed draft; raises Problem for one that is missing, altered or too old."""
    values = _opened(sealed, "draft")
    values["keyring_data"] = base64.b64decode(values["keyring_data"]) or None
    return SourceDraft(**values)


def _kept(form: SourceForm, source: BootSource | None) -> Kept:
    if form.kept.data:
        values = _opened(form.kept.data, "kept")
        return Kept(
            base64.b64decode(values["keyring"]),
            values["secret"],
            values["origin"],
            values["proxy"],
            values.get("url", ""),
            tuple(values.get("confirmed", ())),
            values.get("client_cert", ""),
            values.get("client_key", ""),
        )
    if source is None:
        return Kept()
    is_same_kind = form.auth_kind.data == source.auth_kind and not form.auth_secret.data
    secret = secrets.unseal(source.auth_secret) if is_same_kind else ""
    return Kept(
        source.keyring_data or b"",
        secret,
        _origin(source.url),
        client_cert=source.client_cert,
        client_key=secrets.unseal(source.client_key),
    )


def _opened(sealed: str, kind: str) -> dict[str, Any]:
    try:
        found = json.loads(secrets.unseal(sealed, max_age_s=DRAFT_MAX_AGE_S))
        values: dict[str, Any] = found[kind]
    except (Problem, ValueError, LookupError, TypeError) as error:
        raise Problem(
            "This preview has expired.",
            code="draft-unreadable",
            expected="a form that is less than an hour old",
            got="an older or altered form" if sealed else "none",
            next_step="Fill in the form and connect again. Nothing was changed.",
        ) from error
    return values


def _origin(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}".lower()
