# SPDX-License-Identifier: Apache-2.0
"""REST for scripts: ``/MAAS/api/2.0`` that stock clients speak, ``/api/v1`` of our own."""

from flask import Flask


def register(app: Flask) -> None:
    """Add the REST blueprints to the app."""
    from webapp.api import v1, v2
    from webapp.http import tus
    from webapp.middleware import READY

    v2.register(app)
    v1.register(app)
    tus.speak(app, READY)
