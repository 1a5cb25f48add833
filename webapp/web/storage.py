# SPDX-License-Identifier: Apache-2.0
"""The store: what it holds, what is damaged, and the check that reads everything again."""

from __future__ import annotations

from flask import Blueprint, url_for
from flask.typing import ResponseReturnValue

from webapp import hx
from webapp.services.accounts.rights import Right
from webapp.services.blobs import scrubbing
from webapp.services.imports import inventory
from webapp.services.overview import store
from webapp.web.access import me, requires

blueprint = Blueprint("storage", __name__, url_prefix="/storage")


@blueprint.get("/")
@requires(Right.SEE)
def index() -> ResponseReturnValue:
    """Show what is stored and how far the check is, live while it runs."""
    return hx.render(
        "storage/index.html",
        "storage/_check.html",
        held=store.of_store(),
        check=scrubbing.status(),
        damaged=inventory.damaged(),
    )


@blueprint.post("/check")
@requires(Right.IMPORT)
def check() -> ResponseReturnValue:
    """Read and check every stored file now."""
    scrubbing.request(me().username)
    return hx.see_other(url_for("storage.index"))
