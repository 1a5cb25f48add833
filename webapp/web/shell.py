# SPDX-License-Identifier: Apache-2.0
"""What surrounds every page: navigation, the import's pill, light or dark."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import version
from typing import Any, cast

from flask import Blueprint, Flask, Response, current_app, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from webapp import hx, numbers
from webapp.extensions import db, settings
from webapp.models import ImportRun, RunState
from webapp.services.accounts import rights
from webapp.services.accounts.rights import Right
from webapp.services.accounts.sessions import SignedIn
from webapp.web import import_states
from webapp.web.access import local_path, public, requires
from webapp.web.states import State

THEMES = ("auto", "light", "dark")
THEME_COOKIE = "slipway-theme"
PILL_COOKIE = "slipway-seen-import"  # the run whose pill was hidden
YEAR_S = 365 * 86400

blueprint = Blueprint("shell", __name__)


@dataclass(frozen=True)
class NavItem:
    """A page in the top bar, for users who have this right."""

    endpoint: str
    text: str
    right: Right = Right.SEE


NAV = (
    NavItem("overview.index", "Overview"),
    NavItem("images.index", "Images"),
    NavItem("sources.index", "Boot sources"),
    NavItem("imports.index", "Imports"),
    NavItem("uploads.index", "Uploads", Right.UPLOAD),
    NavItem("vmware.index", "VMware"),
    NavItem("boot.index", "Boot"),
    NavItem("storage.index", "Storage"),
    NavItem("events.index", "Events"),
    NavItem("mirror.index", "Local mirror"),
    NavItem("racks.index", "Racks"),
)


@dataclass(frozen=True)
class NavLink:
    """A NavItem as this page shows it."""

    text: str
    url: str
    is_current: bool


@dataclass(frozen=True)
class Pill:
    """The current or last import; state: in two words, None if it isn't worth them.

    key: differs when another import began or this one went on to another state; pages that
    show imports ask again then. is_live: there is something to watch.
    """

    run_id: int
    key: str
    state: State | None
    is_live: bool


class Shell:
    """What base.html needs; nothing is queried before the template uses it."""

    htmx_config = hx.CONFIG

    @cached_property
    def user(self) -> SignedIn | None:
        """Who is signed in."""
        return cast("SignedIn | None", current_user if current_user.is_authenticated else None)

    @cached_property
    def is_administrator(self) -> bool:
        """Whether the pages of administrators are offered."""
        return self._may(Right.MANAGE)

    @cached_property
    def is_operator(self) -> bool:
        """Whether imports may be started and selections changed; administrators may, too."""
        return self._may(Right.SELECT)

    @cached_property
    def nav(self) -> list[NavLink]:
        """The pages of this visitor's role that exist in this app."""
        return [
            NavLink(
                item.text,
                url_for(item.endpoint),
                is_current=_is_below(url_for(item.endpoint)),
            )
            for item in NAV
            if item.endpoint in current_app.view_functions and self._may(item.right)
        ]

    @cached_property
    def pill(self) -> Pill | None:
        """The current or last import."""
        return read_pill()

    @cached_property
    def theme(self) -> str:
        """``auto``, ``light`` or ``dark``, as the visitor chose."""
        chosen = request.cookies.get(THEME_COOKIE, "auto")
        return chosen if chosen in THEMES else "auto"

    @cached_property
    def here(self) -> str:
        """Where the appearance form leads back to."""
        return local_path(request.full_path.rstrip("?"))

    @cached_property
    def version(self) -> str:
        """Our own release."""
        return _version()

    def _may(self, right: Right) -> bool:
        return self.user is not None and rights.may(self.user.role, right)


def _is_below(url: str) -> bool:
    # Every path is below the overview's.
    return request.path.startswith(url) if url != "/" else request.path == url


@cache
def _version() -> str:
    return version("slipway")


def read_pill() -> Pill | None:
    """One query: the run that runs, else the one that waits, else the last one."""
    run = db.session.scalar(
        db.select(ImportRun)
        .order_by((ImportRun.state == RunState.RUNNING).desc(), ImportRun.id.desc())
        .limit(1)
    )
    if run is None:
        return None
    found = import_states.in_short(run)
    is_live = run.state in (RunState.RUNNING, RunState.QUEUED)
    is_hidden = not is_live and request.cookies.get(PILL_COOKIE) == str(run.id)
    return Pill(run.id, f"{run.id} {run.state}", None if is_hidden else found, is_live)


@blueprint.get("/shell/import-pill")
@requires(Right.SEE)
def import_pill() -> ResponseReturnValue:
    """The pill alone, as the top bar asks for it again and again."""
    return hx.part("shell/_import_pill.html")


@blueprint.post("/shell/import-pill")
@requires(Right.SEE)
def hide_pill() -> ResponseReturnValue:
    """Hide how an import ended, in this browser; the next one shows again."""
    if hx.is_part():
        response = hx.part("shell/_import_pill.html", is_pill_hidden=True)
    else:
        response = hx.see_other(url_for("imports.index"))
    run_id = numbers.whole(request.form.get("run", "")) or 0
    return _remember(response, PILL_COOKIE, str(run_id))


@blueprint.post("/shell/theme")
@public
def set_theme() -> ResponseReturnValue:
    """Remember light or dark in a cookie of its own, which reveals nothing about the user."""
    chosen = request.form.get("theme", "")
    response = hx.see_other(local_path(request.form.get("next", "/")))
    return _remember(response, THEME_COOKIE, chosen if chosen in THEMES else "auto")


def _remember(response: Response, name: str, value: str) -> Response:
    response.set_cookie(
        name, value, max_age=YEAR_S, secure=settings().is_https, httponly=True, samesite="Lax"
    )
    return response


def register(app: Flask) -> None:
    """Give every template ``shell``."""
    app.register_blueprint(blueprint)

    @app.context_processor
    def _shell() -> dict[str, Any]:
        return {"shell": Shell()}
