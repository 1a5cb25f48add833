# SPDX-License-Identifier: Apache-2.0
"""Create the default source and selection at first start (rule: first-start-defaults)."""

from __future__ import annotations

import platform

from sqlalchemy import select

from webapp.config import Settings
from webapp.extensions import db
from webapp.models import BootSource, BootSourceSelection, Publication, Setting
from webapp.services.system import events
from webapp.streams.urls import normalise

DONE = "first_start"
# What the machine calls itself -> what Ubuntu calls it.
HOST_ARCH = {"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64el", "armv7l": "armhf"}


def ensure_defaults(settings: Settings) -> bool:
    """Create the default source and selection once; returns whether it did.

    Only on a database that never had a source: one that an administrator
    emptied stays empty. With SLIPWAY_DEFAULTS=off nothing is created.
    """
    if db.session.get(Publication, 1) is None:
        db.session.add(Publication(id=1))
        db.session.commit()
    if not settings.defaults or db.session.get(Setting, DONE) is not None:
        return False
    db.session.add(Setting(key=DONE, value=True))
    is_empty = db.session.scalar(select(BootSource.id).limit(1)) is None
    if is_empty:
        source = BootSource(
            url=normalise(settings.default_source_url).root,
            name="maas.io",
            keyring_filename=settings.default_keyring,
        )
        host = HOST_ARCH.get(platform.machine(), "amd64")
        source.selections.append(
            BootSourceSelection(
                os="ubuntu",
                release=settings.default_release,
                arches=["amd64"] if host == "amd64" else [host, "amd64"],
            )
        )
        db.session.add(source)
        events.record("source.added", actor="first start", subject=source.url)
    db.session.commit()
    return is_empty
