# SPDX-License-Identifier: Apache-2.0
"""The versions of an image: what one changes, and which one machines get."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flask import Blueprint, flash, request, url_for
from flask.typing import ResponseReturnValue

from webapp import hx, numbers
from webapp.errors import InvalidFields, NotFound
from webapp.services.accounts.rights import Right
from webapp.services.images import comparing, history, steering, versions
from webapp.services.images.steering import Switched
from webapp.web.access import me, requires
from webapp.web.source_health import is_managed, require_managed
from webapp.web.version_rows import difference_row, version_row

blueprint = Blueprint("versions", __name__)

ONE = "/images/<os>/<release>/<arch>/versions"
Act = Callable[[Sequence[int], str, str], str]


@blueprint.get(f"{ONE}/<version>")
@requires(Right.SEE)
def show(os: str, release: str, arch: str, version: str) -> ResponseReturnValue:
    """Show what a version changes against the current one, and ask before switching to it."""
    ids = versions.ids_of(os, release, arch)
    found = history.of(ids)
    lines = found.lines
    line = next((line for line in lines if line.version == version), None)
    if line is None:
        raise NotFound(
            "Version not found.",
            where=f"{os}/{release} {arch} {version[:60]}",
            next_step="It may have been removed. See the versions of the image.",
        )
    link: dict[str, Any] = {"os": os, "release": release, "arch": arch}
    current = next((line.version for line in lines if line.current), version)
    return hx.render(
        "images/version.html",
        None,
        title=f"{found.title}, version {version}",
        row=version_row(line, link),
        back_url=url_for("images.show", **link),
        current=current,
        difference=difference_row(comparing.compare(ids, current, version)),
        is_uploaded=found.is_uploaded,
        is_managed=is_managed(),
    )


@blueprint.post(ONE)
@requires(Right.SELECT)
def change(os: str, release: str, arch: str) -> ResponseReturnValue:
    """Switch to a version, pin or lock; for all kernels of the image at once."""
    require_managed()
    act = _ACTS.get(request.form.get("action", ""))
    if act is None:
        raise InvalidFields({"action": [f"Choose one of these: {', '.join(_ACTS)}."]})
    ids = versions.ids_of(os, release, arch, request.form.get("kernel", ""))
    flash(act(ids, request.form.get("version", ""), me().username), "ok")
    return hx.see_other(url_for("images.show", os=os, release=release, arch=arch))


@blueprint.post(f"{ONE}/keeping")
@requires(Right.SELECT)
def keep(os: str, release: str, arch: str) -> ResponseReturnValue:
    """Say how many versions stay, and for how long."""
    require_managed()
    count = _number("keep_versions", 1, steering.MAX_KEPT)
    days = _number("keep_days", 0, steering.MAX_DAYS)
    steering.keep(versions.ids_of(os, release, arch), count, days, me().username)
    flash("Saved. Versions that nothing keeps go at the next clean-up.", "ok")
    return hx.see_other(url_for("images.show", os=os, release=release, arch=arch))


@blueprint.post(f"{ONE}/<version>/delete")
@requires(Right.MANAGE)
def delete(os: str, release: str, arch: str, version: str) -> ResponseReturnValue:
    """Delete a version that is neither current nor locked."""
    require_managed()
    versions.delete(versions.ids_of(os, release, arch), version, me().username)
    flash(f"Deleted version {version}.", "ok")
    return hx.see_other(url_for("images.show", os=os, release=release, arch=arch))


# -- pieces


def _roll(ids: Sequence[int], version: str, actor: str) -> str:
    done = steering.roll(ids, version, actor)
    words = f"Version {done.version} is now current."
    if done.is_pinned:
        words += " It's pinned, so that no import changes it."
    return words + _stayed(done)


def _pin(ids: Sequence[int], version: str, actor: str) -> str:
    done = steering.pin(ids, version, actor)
    words = f"Pinned to version {done.version}."
    if done.coming:
        words += " The next import downloads it."
    return words + _stayed(done)


def _unpin(ids: Sequence[int], version: str, actor: str) -> str:
    steering.unpin(ids, actor)
    return "Unpinned. The next import updates the image."


def _lock(ids: Sequence[int], version: str, actor: str) -> str:
    steering.lock(ids, version, actor)
    return f"Locked {f'version {version}' if version else 'the image'}. Nothing removes it."


def _unlock(ids: Sequence[int], version: str, actor: str) -> str:
    steering.unlock(ids, version, actor)
    return f"Unlocked {f'version {version}' if version else 'the image'}."


_ACTS: Mapping[str, Act] = {
    "roll": _roll,
    "pin": _pin,
    "unpin": _unpin,
    "lock": _lock,
    "unlock": _unlock,
}


def _stayed(done: Switched) -> str:
    return "".join(
        f" {architecture} has no such version and stays at {version}."
        for architecture, version in done.stayed.items()
    )


def _number(name: str, low: int, high: int) -> int | None:
    """A number of the form, None for an empty field. Raises InvalidFields."""
    text = request.form.get(name, "").strip()
    number = numbers.whole(text)
    if text and (number is None or not low <= number <= high):
        raise InvalidFields({name: [f"Enter a whole number from {low} to {high}, or nothing."]})
    return number
