# SPDX-License-Identifier: Apache-2.0
"""What the local mirror offers, as an administrator chose it."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass

from sqlalchemy import select, update

from webapp.errors import InvalidFields
from webapp.extensions import db
from webapp.models import BootResource, PublishedStream, Setting
from webapp.services.mirror import served
from webapp.services.system import events, statements
from webapp.services.system.wake import wake

PREFIX = "mirror/"
KEY = "mirror"
_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,62}", re.ASCII)
_MAX_SEGMENTS = 4
# Other parts of Slipway answer below these, on one of its ports.
RESERVED = frozenset(
    "MAAS account api bin boot bootloader events favicon.ico grub health healthz help images "
    "imports ipxe.cfg local-mirror metrics overview pxelinux.cfg racks readyz setup shell "
    "sign-in sign-out sources static storage uploads users vmware".split()
)


@dataclass(frozen=True)
class Options:
    """What is offered. images: names like ``ubuntu/noble``, none for all of them."""

    is_on: bool = True
    images: tuple[str, ...] = ()
    has_uploads: bool = True


def prefix() -> str:
    """Where the mirror is served, with a slash at its end and none before it."""
    return db.session.scalar(select(PublishedStream.prefix)) or PREFIX


def read() -> Options:
    """The options in force."""
    kept = db.session.scalar(select(Setting.value).where(Setting.key == KEY)) or {}
    known = {name: value for name, value in kept.items() if name in asdict(Options())}
    known["images"] = tuple(known.get("images", ()))
    return Options(**known)


def change(
    actor: str,
    *,
    is_on: bool | None = None,
    images: tuple[str, ...] | None = None,
    has_uploads: bool | None = None,
    prefix: str | None = None,
) -> Options:
    """Change what isn't None. Raises InvalidFields.

    Turned off, the stream is gone at once, except for racks that are enrolled here.

    prefix: of the mirror's address; from then on nothing is at the old one.
    """
    old = read()
    new = Options(
        old.is_on if is_on is None else is_on,
        old.images if images is None else tuple(dict.fromkeys(images)),
        old.has_uploads if has_uploads is None else has_uploads,
    )
    _check_images(set(new.images) - set(old.images))
    if prefix is not None:
        _move(_checked_prefix(prefix), actor)
    db.session.merge(Setting(key=KEY, value={**asdict(new), "images": list(new.images)}))
    if not new.is_on and not served.has_racks():
        served.withdraw()
    if new != old:
        events.record("mirror.changed", actor=actor, subject="mirror", **asdict(new))
    db.session.commit()
    wake()
    return new


def _check_images(names: set[str]) -> None:
    known = set(db.session.scalars(select(BootResource.name).where(BootResource.name.in_(names))))
    if missing := sorted(names - known):
        shown = ", ".join(ascii(name)[1:-1][:60] for name in missing[:5])
        raise InvalidFields({"images": [f"No image with this name is stored: {shown}."]})


def _checked_prefix(text: str) -> str:
    """A prefix as it's stored. Raises InvalidFields."""
    segments = text.strip().strip("/").split("/")
    if len(segments) > _MAX_SEGMENTS or not all(map(_SEGMENT.fullmatch, segments)):
        words = f"Use up to {_MAX_SEGMENTS} names of letters, digits, dots and hyphens, as in "
        raise InvalidFields({"prefix": [f"{words}maas/images/."]})
    if segments[0] in RESERVED:
        raise InvalidFields({"prefix": [f"Slipway itself uses /{segments[0]}/. Choose another."]})
    if "streams" in segments:  # readers take what comes before it for the mirror's root
        raise InvalidFields({"prefix": ["A prefix can't contain streams/."]})
    return "/".join(segments) + "/"


def _move(new: str, actor: str) -> None:
    """Serve the mirror elsewhere. The caller commits."""
    old = served.row().prefix
    if new == old:
        return
    statements.execute(
        update(PublishedStream)
        .where(PublishedStream.id == 1)
        .values(prefix=new, revision=PublishedStream.revision + 1)
    )
    events.record("mirror.moved", actor=actor, subject="mirror", before=old, after=new)
