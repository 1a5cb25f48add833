# SPDX-License-Identifier: Apache-2.0
"""Keep an image to networks and machines, or give it to everyone again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, flash, request, url_for
from flask.typing import ResponseReturnValue

from webapp import hx, numbers
from webapp.errors import InvalidFields, Problem
from webapp.services.accounts.rights import Right
from webapp.services.images import restricting
from webapp.services.images.restricting import MAX_NOTE
from webapp.streams.restrictions import MAX_ENTRIES
from webapp.web.access import me, requires
from webapp.web.source_health import require_managed

blueprint = Blueprint("restrictions", __name__, url_prefix="/images/<os>/<release>/<arch>")

SHOWN = 20


@blueprint.get("/restriction")
@requires(Right.MANAGE)
def edit(os: str, release: str, arch: str) -> ResponseReturnValue:
    """Show to whom an image is kept, and offer to change it."""
    row = restricting.of(os, release, arch)
    values = {
        "networks": "\n".join(row.networks if row else ()),
        "macs": "\n".join(row.macs if row else ()),
        "note": row.note if row else "",
        "seen": str(row.revision if row else 0),
    }
    return _page((os, release, arch), values, is_restricted=row is not None)


@blueprint.post("/restriction")
@requires(Right.MANAGE)
def save(os: str, release: str, arch: str) -> ResponseReturnValue:
    """Keep an image to networks and machines; asks first where that takes it from some."""
    require_managed()
    image, form = (os, release, arch), request.form
    values = {name: form.get(name, "") for name in ("networks", "macs", "note", "seen")}
    is_restricted = restricting.of(*image) is not None
    try:
        networks, macs = (values[name].replace(",", " ").split() for name in ("networks", "macs"))
        new = restricting.read(networks, macs)
        loss = restricting.loss(*image, new)
        if loss.is_narrower and not form.get("confirmed"):
            return hx.render(
                "images/restriction_confirm.html",
                None,
                title=_title(image),
                values=values,
                new=new,
                loss=loss,
                shown=SHOWN,
                days=restricting.LATELY.days,
                url=_url("save", image),
                back=_url("edit", image),
            )
        restricting.restrict(me().username, *image, new, values["note"], seen=_seen())
    except InvalidFields as problem:
        return _page(image, values, is_restricted=is_restricted, errors=problem.fields, status=422)
    flash(f"Only the machines that you named get {_title(image)} now.", "ok")
    return hx.see_other(_back(image))


@blueprint.post("/restriction/lift")
@requires(Right.MANAGE)
def lift(os: str, release: str, arch: str) -> ResponseReturnValue:
    """Give an image to everyone again."""
    require_managed()
    image = (os, release, arch)
    restricting.lift(me().username, *image, seen=_seen())
    flash(f"{_title(image)} is for all machines now.", "ok")
    return hx.see_other(_back(image))


def _page(
    image: tuple[str, str, str],
    values: Mapping[str, str],
    *,
    is_restricted: bool,
    errors: Mapping[str, list[str]] | None = None,
    status: int = 200,
) -> ResponseReturnValue:
    return hx.render(
        "images/restriction.html",
        None,
        status=status,
        title=_title(image),
        values=values,
        errors=errors or {},
        is_restricted=is_restricted,
        limits={"entries": MAX_ENTRIES, "note": MAX_NOTE},
        url=_url("save", image),
        lift_url=_url("lift", image),
        back=(_back(image), _title(image)),
    )


def _seen() -> int:
    """The revision that the visitor saw."""
    found = numbers.whole(request.form.get("seen", ""))
    if found is None:
        raise Problem("This form is incomplete.", next_step="Reload the page.")
    return found


def _title(image: tuple[str, str, str]) -> str:
    return f"{image[0]}/{image[1]} {image[2]}"


def _url(action: str, image: tuple[str, str, str]) -> str:
    return url_for(f"restrictions.{action}", **_link(image))


def _back(image: tuple[str, str, str]) -> str:
    return url_for("images.show", **_link(image))


def _link(image: tuple[str, str, str]) -> dict[str, Any]:
    return dict(zip(("os", "release", "arch"), image, strict=True))
