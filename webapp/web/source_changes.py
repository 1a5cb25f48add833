# SPDX-License-Identifier: Apache-2.0
"""Changes of where images come from: shown first, then made, and undone.

Priority, on and off, removal, bindings of single images, and undo of the last change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flask import Blueprint, flash, request, url_for
from flask.typing import ResponseReturnValue

from webapp import hx, numbers
from webapp.errors import InvalidFields
from webapp.models import BootSource
from webapp.services.accounts.rights import Right
from webapp.services.imports import moves, runs
from webapp.services.imports.moves import Moves
from webapp.services.sources import announcing, binding, sources, steps
from webapp.services.sources.drafts import MAX_PRIORITY, PRIORITY_RANGE
from webapp.services.sources.naming import title_of
from webapp.streams.offers import ImageName
from webapp.web import import_start
from webapp.web.access import me, requires
from webapp.web.source_health import require_managed, row_of

blueprint = Blueprint("source_changes", __name__, url_prefix="/sources")

ONE = "/<int(max=2147483647):source_id>"
OFFERS = ("sources.offers", "Offers")


@dataclass(frozen=True)
class Question:
    """A change as its page asks for it. fields: what the form sends to ``action``."""

    title: str
    button: str
    action: str
    fields: Mapping[str, str]
    back: tuple[str, str]
    is_final: bool = False  # it can't be undone


@blueprint.get(f"{ONE}/priority")
@requires(Right.MANAGE)
def confirm_priority(source_id: int) -> ResponseReturnValue:
    """Show what another priority changes."""
    source = sources.get(source_id)
    priority = _priority()
    return _ask(
        Question(
            f"Set the priority of {title_of(source)} to {priority}?",
            "Set priority",
            url_for(".set_priority", source_id=source_id),
            {"priority": str(priority)},
            _page_of(source),
        ),
        moves.of_values(source, priority, source.is_enabled),
    )


@blueprint.post(f"{ONE}/priority")
@requires(Right.MANAGE)
def set_priority(source_id: int) -> ResponseReturnValue:
    """Give a source another priority."""
    require_managed()
    source = sources.get(source_id)
    sources.rank(source, _priority(), me().username)
    return _done(f"Priority of {title_of(source)} changed.", source_id)


@blueprint.get(f"{ONE}/switch")
@requires(Right.MANAGE)
def confirm_switch(source_id: int) -> ResponseReturnValue:
    """Show what turning a source on or off changes."""
    source = sources.get(source_id)
    is_on = request.args.get("on") == "yes"
    word = "Enable" if is_on else "Disable"
    return _ask(
        Question(
            f"{word} {title_of(source)}?",
            f"{word} boot source",
            url_for(".switch", source_id=source_id),
            {"on": "yes" if is_on else "no"},
            _page_of(source),
        ),
        moves.of_values(source, source.priority, is_on),
    )


@blueprint.post(f"{ONE}/switch")
@requires(Right.MANAGE)
def switch(source_id: int) -> ResponseReturnValue:
    """Turn a source on or off without losing anything of it."""
    require_managed()
    source = sources.get(source_id)
    is_on = request.form.get("on") == "yes"
    sources.switch(source, is_on, me().username)
    return _done(f"{title_of(source)} {'enabled' if is_on else 'disabled'}.", source_id)


@blueprint.post(f"{ONE}/notices/dismiss")
@requires(Right.SEE)
def dismiss(source_id: int) -> ResponseReturnValue:
    """Hide from the visitor what the source's publisher announces."""
    announcing.dismiss(sources.get(source_id), me().user_id, me().username)
    flash("Hidden from you for two weeks.", "ok")
    return hx.see_other(url_for("sources.show", source_id=source_id))


@blueprint.get(f"{ONE}/remove")
@requires(Right.MANAGE)
def confirm_remove(source_id: int) -> ResponseReturnValue:
    """Show what removing the source deletes, and ask."""
    source = sources.get(source_id)
    question = Question(
        f"Remove {title_of(source)}?",
        "Remove boot source",
        url_for(".remove", source_id=source_id),
        {},
        _page_of(source),
        is_final=True,
    )
    return _ask(question, moves.of_removal(source_id), removed=source)


@blueprint.post(f"{ONE}/remove")
@requires(Right.MANAGE)
def remove(source_id: int) -> ResponseReturnValue:
    """Remove the source, also where too many lock the pages: removing is the way out."""
    source = sources.get(source_id)
    title = title_of(source)
    sources.remove(source, me().username)
    return _done(f"Removed {title}.", None)


@blueprint.get("/bind")
@requires(Right.MANAGE)
def confirm_bind() -> ResponseReturnValue:
    """Show what binding an image to a source changes, or letting priorities decide again."""
    line, source = _image(request.args), _bound_to(request.args)
    name = binding.words(line)
    asked = f"Bind {name} to {title_of(source)}?" if source else f"Unbind {name}?"
    return _ask(
        Question(
            asked,
            "Bind image" if source else "Unbind image",
            url_for(".bind"),
            dict(zip(("os", "release", "arch"), line, strict=True))
            | {"source": str(source.id) if source else ""},
            (url_for(OFFERS[0]), OFFERS[1]),
        ),
        moves.of_steps(binding.to_bind(line, source) if source else binding.to_unbind(line)),
    )


@blueprint.post("/bind")
@requires(Right.MANAGE)
def bind() -> ResponseReturnValue:
    """Bind an image to a source, or unbind it where none is given."""
    require_managed()
    line, source = _image(request.form), _bound_to(request.form)
    if source is None:
        binding.unbind(line, me().username)
        return _done(f"{binding.words(line)} is no longer bound.", None, OFFERS[0])
    binding.bind(line, source, me().username)
    return _done(f"{binding.words(line)} is bound to {title_of(source)}.", None, OFFERS[0])


@blueprint.get("/undo")
@requires(Right.MANAGE)
def confirm_undo() -> ResponseReturnValue:
    """Show what undoing the last change does."""
    change = steps.last()
    if change is None:
        flash("There's no change to undo.", "info")
        return hx.see_other(url_for("sources.index"))
    return _ask(
        Question(
            f"Undo “{change.summary}”?",
            "Undo change",
            url_for(".undo"),
            {"change": str(change.id)},
            (url_for("sources.index"), "Boot sources"),
            is_final=True,
        ),
        moves.of_steps(steps.undoing(change)),
    )


@blueprint.post("/undo")
@requires(Right.MANAGE)
def undo() -> ResponseReturnValue:
    """Undo the change that was shown."""
    require_managed()
    number = numbers.whole(request.form.get("change", ""), digits=9) or 0
    change = steps.undo(number, me().username)
    return _done(f"Undone: {change.summary}.", None)


def _ask(
    question: Question, found: Moves, *, removed: BootSource | None = None
) -> ResponseReturnValue:
    row = row_of(removed) if removed else None
    return hx.render("sources/change.html", None, question=question, found=found, removed=row)


def _done(words: str, source_id: int | None, page: str = "sources.index") -> ResponseReturnValue:
    is_imported = request.form.get("import") == "yes"
    started = runs.start("manual", me().username) if is_imported else None
    flash(import_start.after(words, started), "ok")
    if source_id is not None:
        return hx.see_other(url_for("sources.show", source_id=source_id))
    return hx.see_other(url_for(page))


def _page_of(source: BootSource) -> tuple[str, str]:
    return url_for("sources.show", source_id=source.id), title_of(source)


def _priority() -> int:
    """Raises InvalidFields."""
    text = request.values.get("priority", "").strip()
    found = numbers.whole(text.removeprefix("-"), digits=7)
    if found is None or found > MAX_PRIORITY:
        raise InvalidFields({"priority": [PRIORITY_RANGE]})
    return -found if text.startswith("-") else found


def _image(values: Mapping[str, str]) -> ImageName:
    os, release, arch = (values.get(name, "")[:200] for name in ("os", "release", "arch"))
    return os, release, arch


def _bound_to(values: Mapping[str, str]) -> BootSource | None:
    text = values.get("source", "")
    return sources.get(numbers.whole(text, digits=9) or 0) if text else None
