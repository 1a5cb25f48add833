# SPDX-License-Identifier: Apache-2.0
"""REST for scripts: ``/MAAS/api/2.0`` that stock clients speak."""

from flask import Flask


def register(app: Flask) -> None:
    """Add the REST blueprints to the app."""
    from webapp.api import v2

    v2.register(app)
