# SPDX-License-Identifier: Apache-2.0
"""When imports run, and how fast they download."""

from __future__ import annotations

from flask import Blueprint, flash, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from wtforms import StringField

from webapp import hx
from webapp.errors import InvalidFields
from webapp.extensions import settings
from webapp.services.accounts.rights import Right
from webapp.services.system import live_settings
from webapp.services.system.live_settings import (
    DAY_RATE,
    NIGHT_HOURS,
    NIGHT_RATE,
    SCHEDULE,
    SOAK_DAYS,
    TIME_ZONE,
    WINDOWS,
)
from webapp.web import forms
from webapp.web.access import me, requires

blueprint = Blueprint("import_timing", __name__, url_prefix="/imports/timing")


class TimingForm(FlaskForm):
    """The settings of this page; their fields bear the names of the settings."""

    import_rate = StringField("Download rate", name=DAY_RATE)
    import_night_rate = StringField("Download rate at night", name=NIGHT_RATE)
    import_night_hours = StringField("Night", name=NIGHT_HOURS)
    import_schedule = StringField("Schedule", name=SCHEDULE)
    import_windows = StringField("Import windows", name=WINDOWS)
    import_soak_days = StringField("Minimum age of versions in days", name=SOAK_DAYS)
    import_time_zone = StringField("Time zone", name=TIME_ZONE)


@blueprint.get("/")
@requires(Right.MANAGE)
def edit() -> ResponseReturnValue:
    """Show the settings."""
    return _page(TimingForm(data=live_settings.read_all()))


@blueprint.post("/")
@requires(Right.MANAGE)
def save() -> ResponseReturnValue:
    """Change what differs; running downloads follow within a second."""
    form = TimingForm()
    before = live_settings.read_all()
    names = [field.name for field in form if field.name in before]
    values = {name: request.form[name] for name in names if name in request.form}
    changed = {name: value for name, value in values.items() if value.strip() != before[name]}
    try:
        if changed:
            live_settings.change_all(changed, me().username)
    except InvalidFields as problem:
        forms.show(problem, form)
        return _page(form, status=422)
    flash("Schedule and speed saved.", "ok")
    return hx.see_other(url_for("imports.index"))


def _page(form: TimingForm, status: int = 200) -> ResponseReturnValue:
    return hx.render(
        "imports/timing.html", None, status=status, form=form, interval=settings().import_interval
    )
