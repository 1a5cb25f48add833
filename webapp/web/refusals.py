# SPDX-License-Identifier: Apache-2.0
"""Refused access is an event: who asked from where, counted over minutes."""

from __future__ import annotations

from functools import partial

import structlog
from flask import Flask, Response, request

from webapp.extensions import db
from webapp.services.system import recorder

REFUSED = (401, 403, 429)


def register(app: Flask) -> None:
    """Note refusals of pages and scripts."""
    with app.app_context():
        refusals = recorder.Recorder(partial(recorder.write, db.engine), is_threaded=False)

    @app.after_request
    def _note(response: Response) -> Response:
        # The command line on this machine has no address.
        if response.status_code in REFUSED and request.remote_addr:
            db.session.rollback()  # nothing of a refused request is kept, nor its lock
            user = structlog.contextvars.get_contextvars().get("user", "")
            refusals.add(  # without the path, or each would be a row
                "access.refused", user, request.remote_addr[:45], status=response.status_code
            )
            refusals.flush_due()
        return response
