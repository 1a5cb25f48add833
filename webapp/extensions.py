# SPDX-License-Identifier: Apache-2.0
"""The objects that belong to a Flask app: database and blob store."""

from __future__ import annotations

from typing import cast

from flask import current_app
from flask_sqlalchemy import SQLAlchemy

from webapp.config import Settings
from webapp.models import Base
from webapp.storage.base import BlobStore

db = SQLAlchemy(model_class=Base)


def store() -> BlobStore:
    """The blob store of the current app."""
    return cast(BlobStore, current_app.extensions["slipway.store"])


def settings() -> Settings:
    """The settings of the current app."""
    return cast(Settings, current_app.extensions["slipway.settings"])
