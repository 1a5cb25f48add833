# SPDX-License-Identifier: Apache-2.0
"""The priority of an image: when an import downloads it."""

from __future__ import annotations

from flask import Blueprint, flash, request, url_for
from flask.typing import ResponseReturnValue

from webapp import hx
from webapp.errors import InvalidFields
from webapp.models import Priority
from webapp.services.accounts.rights import Right
from webapp.services.images import priorities
from webapp.services.images.keys import Image
from webapp.services.sources import catalogue
from webapp.web.access import me, requires
from webapp.web.source_health import require_managed

blueprint = Blueprint("priorities", __name__)

ONE = "/images/<os>/<release>/<arch>/priority"


@blueprint.get(ONE)
@requires(Right.SELECT)
def edit(os: str, release: str, arch: str) -> ResponseReturnValue:
    """Show the priority of an image, and offer the others."""
    image = Image(f"{os}/{release}", arch)
    return hx.render(
        "images/priority.html",
        None,
        title=f"{catalogue.titles().get(image.name, image.name)} {arch}",
        image=image,
        priority=priorities.of(image),
        back=_back(image),
    )


@blueprint.post(ONE)
@requires(Right.SELECT)
def save(os: str, release: str, arch: str) -> ResponseReturnValue:
    """Set the priority."""
    require_managed()
    image, value = Image(f"{os}/{release}", arch), request.form.get("priority", "")
    if value not in list(Priority):
        raise InvalidFields({"priority": [f"Choose one of these: {', '.join(Priority)}."]})
    priorities.change(image, Priority(value), me().username)
    flash(f"{image} has {value} priority.", "ok")
    return hx.see_other(_back(image)[0])


def _back(image: Image) -> tuple[str, str]:
    """The page that the visitor came from: the plan, or the image."""
    if request.args.get("next") == "plan":
        return url_for("imports.show_plan"), "What will happen"
    os, _, release = image.name.partition("/")
    return url_for("images.show", os=os, release=release, arch=image.arch), image.name
