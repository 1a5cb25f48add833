# SPDX-License-Identifier: Apache-2.0
"""Rules that select images: the list, the form with its preview, and removing one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from flask import Blueprint, flash, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from wtforms import SelectField, StringField
from wtforms.fields import SelectChoice

from webapp import hx, numbers
from webapp.errors import InvalidFields
from webapp.models import SelectionRule
from webapp.services.accounts.rights import Right
from webapp.services.imports import rule_preview, runs
from webapp.services.imports.rule_preview import RulePreview
from webapp.services.sources import rules, ruling, sources
from webapp.services.sources.ruling import Kind, Match, Rule
from webapp.streams.filters import ANY
from webapp.streams.offers import ImageName
from webapp.streams.osnames import os_title
from webapp.web import forms, import_start
from webapp.web.access import me, requires
from webapp.web.source_health import require_managed

blueprint = Blueprint("rules", __name__, url_prefix="/images/rules")

KINDS = {
    Kind.NEWEST_LTS: "Newest Ubuntu LTS releases",
    Kind.SUPPORTED_LTS: "All supported Ubuntu LTS releases",
    Kind.NEWEST: "Newest releases of a system",
    Kind.EVERY: "Every release of a system",
    Kind.PATTERN: "Names that match an expression",
}


class RuleForm(FlaskForm):
    """What a rule selects; fields that its kind doesn't use are ignored."""

    kind = SelectField("Select", choices=[SelectChoice(k, words) for k, words in KINDS.items()])
    count = StringField("How many", default="2")
    os = SelectField("System", validate_choice=False)
    pattern = StringField("Expression")
    arches = StringField("Architectures")
    kernels = StringField("Kernels")
    source_id = SelectField("Boot source", validate_choice=False)

    def rule(self) -> Rule:
        """What was filled in. Raises InvalidFields."""
        source = self.source_id.data or ""
        source_id = numbers.whole(source, digits=9)
        if source and source_id is None:
            raise InvalidFields({"source_id": ["Choose a boot source from the list."]})
        if self.kind.data not in set(Kind):
            raise InvalidFields({"kind": ["Choose what to select from the list."]})
        return Rule(
            kind=Kind(self.kind.data),
            os=self.os.data or "",
            count=numbers.whole((self.count.data or "").strip(), digits=4) or 0,
            pattern=(self.pattern.data or "").strip(),
            arches=_words(self.arches.data),
            kernels=_words(self.kernels.data),
            source_id=source_id,
        )


@dataclass(frozen=True)
class RuleRow:
    """A rule as the list shows it. matches: a line for each image."""

    row: SelectionRule
    title: str
    source: str
    matches: list[Match]
    warning: str


@blueprint.get("/")
@requires(Right.SEE)
def index() -> ResponseReturnValue:
    """List the rules with what each selects, and why."""
    names = sources.titles()
    rows = [
        RuleRow(
            row=row,
            title=rules.rule_of(row).title,
            source=names.get(row.source_id or 0, "All boot sources"),
            matches=_images(found := rules.found_of(row)),
            warning=rules.warning_of(found),
        )
        for row in rules.all_rules()
    ]
    return hx.render("images/rules.html", None, rows=rows)


@blueprint.get("/new")
@requires(Right.SELECT)
def new() -> ResponseReturnValue:
    """Show the form of a new rule."""
    return _page(RuleForm(), None)


@blueprint.post("/new")
@requires(Right.SELECT)
def add() -> ResponseReturnValue:
    """Preview or add a rule."""
    return _save(None)


@blueprint.get("/<int:rule_id>/")
@requires(Right.SELECT)
def edit(rule_id: int) -> ResponseReturnValue:
    """Show the form of a rule."""
    row = rules.get(rule_id)
    values = {
        "kind": row.kind,
        "count": str(row.count or 2),
        "os": row.os,
        "pattern": row.pattern,
        "arches": _text(row.arches),
        "kernels": _text(row.kernels),
        "source_id": str(row.source_id or ""),
    }
    return _page(RuleForm(data=values), row)


@blueprint.post("/<int:rule_id>/")
@requires(Right.SELECT)
def change(rule_id: int) -> ResponseReturnValue:
    """Preview or change a rule."""
    return _save(rules.get(rule_id))


@blueprint.get("/<int:rule_id>/remove")
@requires(Right.SELECT)
def confirm_remove(rule_id: int) -> ResponseReturnValue:
    """Show what goes without the rule, and ask."""
    row = rules.get(rule_id)
    return hx.render(
        "images/rule_remove.html",
        None,
        row=row,
        title=rules.rule_of(row).title,
        preview=rule_preview.of_rule(None, row),
    )


@blueprint.post("/<int:rule_id>/remove")
@requires(Right.SELECT)
def remove(rule_id: int) -> ResponseReturnValue:
    """Remove a rule; the next import deletes what nothing else selects."""
    require_managed()
    row = rules.get(rule_id)
    title = rules.rule_of(row).title
    rules.remove(row, me().username)
    flash(f"Removed the rule {title}.", "ok")
    return hx.see_other(url_for("rules.index"))


def _save(row: SelectionRule | None) -> ResponseReturnValue:
    """Save the form and start an import; asks first when stored images would go."""
    require_managed()
    form = RuleForm()
    try:
        rule = form.rule()
        preview = rule_preview.of_rule(rule, row)
        digest = _digest(rule, preview)
        needs_confirmation = bool(preview.drops) and request.form.get("seen") != digest
        if request.form.get("preview") or needs_confirmation:
            status = 200 if request.form.get("preview") else 409
            return _page(form, row, preview=preview, seen=digest, status=status)
        if row is None:
            rules.add(rule, me().username)
        else:
            rules.change(row, rule, me().username)
    except InvalidFields as problem:
        forms.show(problem, form)
        return _page(form, row, status=422)
    started = runs.start("manual", me().username)
    flash(import_start.after(f"Saved the rule {rule.title}.", started), "ok")
    return hx.see_other(url_for("rules.index"))


def _page(
    form: RuleForm,
    row: SelectionRule | None,
    *,
    preview: RulePreview | None = None,
    seen: str = "",
    status: int = 200,
) -> ResponseReturnValue:
    names = sources.titles()
    form.source_id.choices = [
        SelectChoice("", "All boot sources"),
        *(SelectChoice(str(id), name) for id, name in names.items()),
    ]
    systems = {*rules.systems(), form.os.data or "ubuntu"}
    form.os.choices = [SelectChoice(os, os_title(os)) for os in sorted(systems, key=_ubuntu_first)]
    return hx.render(
        "images/rule.html",
        None,
        status=status,
        form=form,
        max_pattern=ruling.MAX_PATTERN,
        row=row,
        title=rules.rule_of(row).title if row else "",
        preview=preview,
        matches=_images(preview.matches) if preview else [],
        warning=rules.warning_of(preview.matches) if preview else "",
        is_unconfirmed=status == 409,
        seen=seen,
    )


def _images(matches: Sequence[Match]) -> list[Match]:
    """Each image once, whichever sources it's from."""
    found: dict[ImageName, Match] = {}
    for match in matches:
        known = found.setdefault(match.image, match)
        if not known.is_wanted and match.is_wanted:
            found[match.image] = match
    return list(found.values())


def _digest(rule: Rule, preview: RulePreview) -> str:
    """Names what a person confirms."""
    drops = [f"{one.name} {one.architecture}" for one in preview.drops]
    return hashlib.sha256(repr((rule, drops)).encode()).hexdigest()[:16]


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys((text or "").replace(",", " ").split())) or (ANY,)


def _text(names: Sequence[str]) -> str:
    return "" if ANY in names else " ".join(names)


def _ubuntu_first(os: str) -> tuple[bool, str]:
    return os != "ubuntu", os_title(os).casefold()
