# SPDX-License-Identifier: Apache-2.0
"""Events: what happened, filtered by the URL's query; a machine's boots; exports."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, request, url_for
from flask.typing import ResponseReturnValue
from wtforms import DateTimeLocalField, Field, Form, SelectField, StringField
from wtforms.fields import SelectChoice
from wtforms.validators import Length, Optional

from webapp import hx, numbers
from webapp.extensions import settings
from webapp.http.dispatch import MAX_ID
from webapp.models import Event, Role
from webapp.services.accounts.rights import Right
from webapp.services.system import boots, events
from webapp.services.system.events import FETCHED, Wanted
from webapp.web.access import me, requires
from webapp.web.event_rows import as_csv, as_json, boot_view, event_row, title_of

blueprint = Blueprint("events", __name__, url_prefix="/events")

PAGE = 50
BOOT_EVENTS = 100  # of one machine, that its boots are read from
EXPORTED = 10_000
_TIMES = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d"]


class MomentField(DateTimeLocalField):
    """A date and time; what is neither is refused with an example."""

    def process_formdata(self, valuelist: list[Any]) -> None:
        """Read it; raises ValueError with what to enter."""
        try:
            super().process_formdata(valuelist)
        except ValueError:
            raise ValueError("Enter a date and time, e.g. 2026-01-31T14:30.") from None


class FilterForm(Form):
    """What is asked for; its names are those of the URL's query. Times are UTC."""

    machine = StringField("Machine", [Length(max=200)])
    user = StringField("User", [Length(max=200)])
    image = StringField("Image", [Length(max=200)])
    kind = SelectField("Kind", default="", validate_choice=False)
    since = MomentField("From (UTC)", [Optional()], format=_TIMES)
    until = MomentField("To (UTC)", [Optional()], format=_TIMES)

    def wanted(self, before: int) -> Wanted:
        """The same for the service."""
        return Wanted(
            kind=_text(self.kind)[:100],
            machine=_text(self.machine),
            user=_text(self.user),
            image=_text(self.image),
            since=_aware(self.since.data),
            until=_aware(self.until.data),
            before=before,
        )

    def offer_kinds(self, role: Role) -> None:
        """Offer what this role may see, and the very kind that is asked for."""
        choices = [("", "Everything"), (FETCHED, "Fetches by machines")]
        choices += events.subjects(role).items()
        asked = self.kind.data or ""
        if asked not in dict(choices):
            choices.append((asked, title_of(asked)))
        self.kind.choices = [SelectChoice(value, words) for value, words in choices]


@blueprint.get("/")
@requires(Right.SEE)
def index() -> ResponseReturnValue:
    """Show events, the newest first; of one machine, its boots as well."""
    form, before = _asked()
    rows, older = _find(form, before, PAGE)
    role = me().role
    return hx.render(
        "events/index.html",
        None,
        form=form,
        rows=[event_row(row, role) for row in rows],
        older=older,
        query=_query(form),
        is_filtered=bool(_query(form)),
        is_first=not before,
        boots=_boots(form.wanted(before)) if not form.errors else [],
        exported=EXPORTED,
        days=settings().event_days,
    )


@blueprint.get("/export.csv")
@requires(Right.SEE)
def export_csv() -> ResponseReturnValue:
    """Give the events that a filter finds as a table."""
    return _exported("csv", "text/csv", lambda rows, role, _: as_csv(rows, role))


@blueprint.get("/export.json")
@requires(Right.SEE)
def export_json() -> ResponseReturnValue:
    """The same for programs."""
    return _exported("json", "application/json", as_json)


def _exported(
    suffix: str, media: str, write: Callable[[list[Event], Role, int | None], str]
) -> ResponseReturnValue:
    form, before = _asked()
    if form.errors:
        return hx.see_other(f"{url_for('events.index')}?{urlencode(_query(form))}")
    rows, older = _find(form, before, EXPORTED)
    response = Response(write(rows, me().role, older), content_type=f"{media}; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="events.{suffix}"'
    response.headers["Cache-Control"] = "no-store"
    return response


def _asked() -> tuple[FilterForm, int]:
    form = FilterForm(request.args)
    form.offer_kinds(me().role)
    form.validate()
    before = numbers.whole(request.args.get("before", "")) or 0
    return form, min(before, MAX_ID)


def _find(form: FilterForm, before: int, most: int) -> tuple[list[Event], int | None]:
    """The events and, if there are older ones, the id to go on before."""
    if form.errors:
        return [], None
    found = list(events.find(form.wanted(before), limit=most + 1, role=me().role))
    return found[:most], found[most - 1].id if len(found) > most else None


def _boots(wanted: Wanted) -> list[Any]:
    if not wanted.machine:
        return []
    asked = Wanted(
        FETCHED, wanted.machine, since=wanted.since, until=wanted.until, before=wanted.before
    )
    found = events.find(asked, limit=BOOT_EVENTS, role=me().role)
    return [boot_view(boot) for boot in boots.of_events(found)]


def _query(form: FilterForm) -> dict[str, str]:
    """The filter as the URL's query has it, without what is empty."""
    return {name: value for name in form._fields if (value := request.args.get(name, "")[:200])}


def _text(field: Field) -> str:
    # No row has such a character, and PostgreSQL takes none.
    return (field.data or "").strip().replace("\0", "")


def _aware(at: datetime | None) -> datetime | None:
    return at.replace(tzinfo=UTC) if at else None
