# SPDX-License-Identifier: Apache-2.0
"""How old versions must be to be imported: of a boot source, or of an image."""

from __future__ import annotations

from flask import Blueprint, Flask, flash, request, url_for
from flask.typing import ResponseReturnValue

from webapp import hx, numbers
from webapp.errors import InvalidFields
from webapp.services.accounts.rights import Right
from webapp.services.sources import soaking, sources
from webapp.services.system import live_settings
from webapp.web.access import me, requires
from webapp.web.source_health import require_managed

blueprint = Blueprint("soak", __name__)


@blueprint.post("/sources/<int(max=2147483647):source_id>/soak")
@requires(Right.MANAGE)
def change_source(source_id: int) -> ResponseReturnValue:
    """Say how old versions of a source must be."""
    require_managed()
    days = _days()
    soaking.set_source(sources.get(source_id), days, me().username)
    flash(_words(days), "ok")
    return hx.see_other(url_for("sources.show", source_id=source_id))


@blueprint.post("/images/<os>/<release>/<arch>/soak")
@requires(Right.SELECT)
def change_image(os: str, release: str, arch: str) -> ResponseReturnValue:
    """Say how old versions of an image must be."""
    require_managed()
    days = _days()
    soaking.set_image(f"{os}/{release}", arch, days, me().username)
    flash(f"{os}/{release} {arch}: {_words(days)}", "ok")
    if request.form.get("next") == "plan":
        return hx.see_other(url_for("imports.show_plan"))
    return hx.see_other(url_for("images.show", os=os, release=release, arch=arch))


def register(app: Flask) -> None:
    """Add the forms, their limit, and the filter that gives their address for an image."""
    app.register_blueprint(blueprint)
    app.jinja_env.globals["max_soak_days"] = live_settings.MAX_SOAK_DAYS

    @app.template_filter("soak_url")
    def _url(name: str, architecture: str) -> str:
        os, _, release = name.partition("/")
        arch = architecture.partition("/")[0]
        return url_for("soak.change_image", os=os, release=release, arch=arch)


def _days() -> int | None:
    """The days of the form, None for an empty field. Raises InvalidFields."""
    text = request.form.get("days", "").strip()
    days = numbers.whole(text)
    if text and days is None:
        raise InvalidFields({"days": [live_settings.SOAK_RANGE]})
    return days


def _words(days: int | None) -> str:
    if days is None:
        return "No soak time of its own."
    old = numbers.counted(days, "day")
    return f"Versions are imported once they're {old} old." if days else "Imported at once."
