# SPDX-License-Identifier: Apache-2.0
"""One URL, two bodies: the only file that knows htmx's headers.

A page answers with itself, or with one of its parts when htmx asks for it.
Both say ``Vary: HX-Request``, so that no cache gives one for the other.
"""

from __future__ import annotations

import json
from typing import Any, cast
from urllib.parse import urlsplit

from flask import Response, make_response, redirect, render_template, request
from htmx_flask.requests import HtmxHeaders

POLL_HEADER = "Slipway-Poll"


def is_part() -> bool:
    """Whether htmx asks for a part; going back in history wants the whole page."""
    headers = HtmxHeaders(request.headers)
    return bool(headers) and not headers.history_restore_request


def is_poll() -> bool:
    """Whether the page asks by itself, not a person."""
    return request.headers.get(POLL_HEADER) == "1"


def current_path() -> str:
    """The path and query of the page that htmx asks from; "/" when it does not say."""
    try:
        parts = urlsplit(HtmxHeaders(request.headers).current_url or "/")
    except ValueError:  # nothing that a browser sends
        return "/"
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def render(
    page_template: str, part_template: str | None, *, status: int = 200, **values: Any
) -> Response:
    """Render the page, or its part when that is what htmx asked for.

    part_template: None for a page without parts; htmx then gets the whole page.
    status: 422 for a form with errors; htmx swaps that in as well.
    """
    if part_template is not None and is_part():
        return part(part_template, status=status, **values)
    return _vary(make_response(render_template(page_template, **values), status))


def part(template: str, *, status: int = 200, notify: str = "", **values: Any) -> Response:
    """Render a part alone. notify: a sentence that the page shows on top, after success."""
    response = _vary(make_response(render_template(template, **values), status))
    response.headers["Cache-Control"] = "no-store"
    if notify:
        response.headers["HX-Trigger"] = json.dumps({"notify": {"kind": "ok", "text": notify}})
    return response


def unchanged() -> Response:
    """Leave the part as it is: nothing moves, and nothing is announced."""
    return _vary(Response(status=204))


def see_other(url: str) -> Response:
    """Send the browser to another page after a change: 303, or htmx's word for it."""
    if is_part():
        return go_to(url, status=204)
    return _vary(cast(Response, redirect(url, code=303)))


def go_to(url: str, *, status: int) -> Response:
    """Make htmx leave the page for another one, whatever the status."""
    return _vary(Response(status=status, headers={"HX-Redirect": url}))


def to_notices(response: Response) -> Response:
    """Let htmx put this answer among the page's notices, not where the part was."""
    response.headers["HX-Retarget"] = "#notices"
    response.headers["HX-Reswap"] = "innerHTML"
    return _vary(response)


def _vary(response: Response) -> Response:
    response.vary.add("HX-Request")
    return response


# What htmx may do: no eval, no styles of its own, 422 is swapped like a success.
CONFIG = json.dumps(
    {
        "allowEval": False,
        "includeIndicatorStyles": False,
        "selfRequestsOnly": True,
        "historyCacheSize": 0,
        "timeout": 30000,
        "responseHandling": [
            {"code": "204", "swap": False},
            {"code": "[23]..", "swap": True},
            {"code": "422", "swap": True},
            {"code": "[45]..", "swap": True, "error": True, "target": "#notices"},
        ],
    }
)
