# SPDX-License-Identifier: Apache-2.0
"""What the local mirror offers, as an administrator chose it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sqlalchemy import select

from webapp.errors import InvalidFields
from webapp.extensions import db
from webapp.models import BootResource, Setting
from webapp.services.mirror import served
from webapp.services.system import events
from webapp.services.system.wake import wake

_KEY = "mirror"


@dataclass(frozen=True)
class Options:
    """What is offered. images: names like ``ubuntu/noble``, none for all of them."""

    is_on: bool = True
    images: tuple[str, ...] = ()
    has_uploads: bool = True


def read() -> Options:
    """The options in force."""
    kept = db.session.scalar(select(Setting.value).where(Setting.key == _KEY)) or {}
    known = {name: value for name, value in kept.items() if name in asdict(Options())}
    known["images"] = tuple(known.get("images", ()))
    return Options(**known)


def change(
    actor: str,
    *,
    is_on: bool | None = None,
    images: tuple[str, ...] | None = None,
    has_uploads: bool | None = None,
) -> Options:
    """Change what isn't None. Turned off, the stream is gone at once. Raises InvalidFields."""
    old = read()
    new = Options(
        old.is_on if is_on is None else is_on,
        old.images if images is None else tuple(dict.fromkeys(images)),
        old.has_uploads if has_uploads is None else has_uploads,
    )
    _check_images(set(new.images) - set(old.images))
    db.session.merge(Setting(key=_KEY, value={**asdict(new), "images": list(new.images)}))
    if not new.is_on:
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
