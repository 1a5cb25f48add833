# SPDX-License-Identifier: Apache-2.0
"""What decides what a run does, so that a change of it meanwhile is noticed."""

from __future__ import annotations

import hashlib
import json

from sqlalchemy import select

from webapp.extensions import db
from webapp.models import (
    BootSource,
    BootSourceSelection,
    ImageBinding,
    ImageSoak,
    SelectionRule,
    Setting,
)
from webapp.services.system import live_settings
from webapp.services.system.live_settings import SOAK_DAYS


def intent() -> str:
    """A digest of what decides what a run does: sources, what's selected of them, and how."""
    source_rows = db.session.execute(
        select(
            BootSource.id,
            BootSource.url,
            BootSource.priority,
            BootSource.is_enabled,
            BootSource.is_unsigned,
            BootSource.keyring_filename,
            BootSource.keyring_data,
            BootSource.mirrors,
            BootSource.confirmed_products,
            BootSource.proxy_url,
            BootSource.is_direct,
            BootSource.proxy_login,
            BootSource.ca_file,
            BootSource.client_cert,
            BootSource.auth_kind,
            BootSource.auth_username,
            BootSource.auth_secret,
            BootSource.auth_in_clear,
            BootSource.soak_days,
        ).order_by(BootSource.id)
    ).all()
    selection_rows = db.session.execute(
        select(
            BootSourceSelection.source_id,
            BootSourceSelection.os,
            BootSourceSelection.release,
            BootSourceSelection.arches,
            BootSourceSelection.subarches,
            BootSourceSelection.labels,
        ).order_by(BootSourceSelection.id)
    ).all()
    binding_rows = db.session.execute(
        select(
            ImageBinding.os, ImageBinding.release, ImageBinding.arch, ImageBinding.source_id
        ).order_by(ImageBinding.id)
    ).all()
    soak_rows = db.session.execute(
        select(ImageSoak.name, ImageSoak.arch, ImageSoak.days).order_by(
            *ImageSoak.__table__.columns
        )
    ).all()
    setting_rows = db.session.execute(
        select(Setting.key, Setting.value)
        .where(Setting.key.in_((*live_settings.OF_THE_PROXY, SOAK_DAYS)))
        .order_by(Setting.key)
    ).all()
    rule_rows = db.session.execute(
        select(
            SelectionRule.id,
            SelectionRule.kind,
            SelectionRule.os,
            SelectionRule.count,
            SelectionRule.pattern,
            SelectionRule.arches,
            SelectionRule.kernels,
            SelectionRule.source_id,
        ).order_by(SelectionRule.id)
    ).all()
    found = (source_rows, selection_rows, binding_rows, soak_rows, setting_rows, rule_rows)
    everything = [[list(row) for row in rows] for rows in found]
    text = json.dumps(everything, default=bytes.hex)  # keyrings and secrets are bytes
    return hashlib.sha256(text.encode()).hexdigest()
