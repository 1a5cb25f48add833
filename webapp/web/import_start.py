# SPDX-License-Identifier: Apache-2.0
"""How pages tell that what was saved is being imported."""

from __future__ import annotations

from flask import url_for
from markupsafe import Markup

from webapp.services.imports.runs import Start


def words(started: Start | None) -> Markup:
    """That the import has started, or which one was running already; None: nothing to say."""
    if started is None:
        return Markup()
    if started.is_new:
        return Markup("The import has started.")
    link = Markup('An import is already running: <a href="{}">import {}</a>.')
    return link.format(url_for("imports.show", run_id=started.run.id), started.run.id)


def after(text: str, started: Start | None) -> Markup:
    """A sentence about what was saved, and then that."""
    return Markup(" ").join(filter(None, (Markup.escape(text), words(started))))
