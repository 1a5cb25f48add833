# SPDX-License-Identifier: Apache-2.0
"""Who may do what: every page carries a mark, and one place reads it before the page runs.

A page without a mark is refused for everybody, so that forgetting one shows
at once and opens nothing. Scripts below ``/MAAS/`` and ``/api/`` are decided
by their own table (webapp.api); the cookie means nothing there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import structlog
from flask import Flask, abort, current_app, flash, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import LoginManager, current_user

from webapp import hx
from webapp.middleware import SAFE_METHODS
from webapp.services.accounts import rights, sessions, users
from webapp.services.accounts.rights import Right
from webapp.services.accounts.sessions import SignedIn
from webapp.services.system import reserve

SCRIPT_PATHS = ("/MAAS/", "/api/")
FORM_BYTES = 1 << 20
_MARK = "slipway_access"

log = structlog.get_logger(__name__)
View = TypeVar("View", bound=Callable[..., Any])


@dataclass(frozen=True)
class Access:
    """What a page requires of its visitor; right None: everyone, signed in or not."""

    right: Right | None
    form_bytes: int = FORM_BYTES
    is_confirmed: bool = False


def requires(
    right: Right, *, form_bytes: int = FORM_BYTES, is_confirmed: bool = False
) -> Callable[[View], View]:
    """Mark a page: signed-in users whose role has this right.

    form_bytes: the largest form it takes; more is answered with 413. is_confirmed: only
    when they entered their password (and code) a moment ago; see webapp.web.confirming.
    """
    return _marking(Access(right, form_bytes, is_confirmed))


def public(view: View) -> View:
    """Mark a page that everyone may see, signed in or not."""
    return _marking(Access(None))(view)


def _marking(access: Access) -> Callable[[View], View]:
    def mark(view: View) -> View:
        view.__dict__[_MARK] = access
        return view

    return mark


def access_of(app: Flask, endpoint: str) -> Access | None:
    """The mark of a page, or None when it has none."""
    view = app.view_functions.get(endpoint)
    return cast("Access | None", getattr(view, _MARK, None))


def is_script_path(path: str) -> bool:
    """Whether scripts are answered here, which sign every request themselves."""
    return path.startswith(SCRIPT_PATHS)


def me() -> SignedIn:
    """Who is signed in; only pages marked with ``requires`` may ask."""
    if not current_user.is_authenticated:
        abort(403)
    return cast(SignedIn, current_user._get_current_object())


def local_path(target: str) -> str:
    """The path if it leads to a page of ours, else "/"; nothing a browser could read otherwise."""
    is_local = target.startswith("/") and not target.startswith(("//", "/\\"))
    if not is_local or "\\" in target or not target.isprintable() or len(target) > 2000:
        return "/"
    return target


def register(app: Flask) -> None:
    """Load the visitor from the session's token, and decide before every page."""
    login = LoginManager()
    login.session_protection = None  # the session lives on the server; see services.sessions
    login.init_app(app, add_context_processor=False)  # templates have shell.user
    login.user_loader(_load)
    app.before_request(_make_room)
    app.before_request(_decide)


def _make_room() -> None:
    if request.method not in SAFE_METHODS:
        reserve.release_if_full()


def _load(token: str) -> SignedIn | None:
    if is_script_path(request.path):
        return None
    visitor = sessions.find(token, is_person=not hx.is_poll())
    if visitor is not None:
        structlog.contextvars.bind_contextvars(user=visitor.username)
    return visitor


def _decide() -> ResponseReturnValue | None:
    if request.endpoint is None or is_script_path(request.path):
        return None  # there is no such page, or scripts are asked for their key
    access = access_of(current_app, request.endpoint)
    if access is None:
        log.error("a page without a mark was refused", endpoint=request.endpoint)
        abort(403)
    request.max_content_length = access.form_bytes
    request.max_form_memory_size = access.form_bytes
    if access.right is None:
        return None
    if not current_user.is_authenticated:
        return _ask_to_sign_in()
    if not rights.may(current_user.role, access.right):
        abort(403)
    rights.demand_independent(access.right, current_user.is_dependent)
    return None


def _ask_to_sign_in() -> ResponseReturnValue:
    if not users.has_users():
        return hx.see_other(url_for("setup.index"))
    if hx.is_part():
        # The part's page is left for the sign-in page, which leads back to it.
        here = local_path(hx.current_path())
        return hx.go_to(url_for("accounts.sign_in", next=here), status=401)
    if request.method not in ("GET", "HEAD"):
        flash("Your session has ended. Nothing was changed. Sign in and try again.", "warn")
        return hx.see_other(url_for("accounts.sign_in"))
    here = local_path(request.full_path.rstrip("?"))
    return hx.see_other(url_for("accounts.sign_in", next=here if here != "/" else None))
