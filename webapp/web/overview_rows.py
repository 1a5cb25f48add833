# SPDX-License-Identifier: Apache-2.0
"""The moment as the page Overview puts it: a sentence, what a person can do, the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import url_for

from webapp.models import ImportRun, Role
from webapp.numbers import counted, whole
from webapp.services.accounts.rights import Right, may
from webapp.services.overview.health import Check
from webapp.services.overview.machines import Machine
from webapp.services.overview.now import Now, Start
from webapp.severity import Severity
from webapp.web import import_states
from webapp.web.event_rows import EventRow, event_row
from webapp.web.formatting import byte_size, byte_speed, duration
from webapp.web.states import State

SHOWN_MACHINES = 8
SOON = timedelta(seconds=5)
BUSY_S, IDLE_S = 3, 15  # the import's pill makes the page ask as well, when one begins or ends
# Where each check of `slipway doctor` is seen to, by the first word of its name.
_PAGES = {
    "boot": ("sources.index", "Boot sources"),
    "rule": ("rules.index", "Rules"),
    "commissioning": ("images.index", "Images"),
    "images": ("images.index", "Images"),
    "import": ("imports.index", "Imports"),
    "free": ("storage.index", "Storage"),
    "damage": ("storage.index", "Storage"),
    "integrity": ("storage.index", "Storage"),
    "store": ("storage.index", "Storage"),
    "local": ("mirror.index", "Local mirror"),
    "rack": ("racks.index", "Racks"),
}
_OF_START = ("boot sources", "commissioning", "images")  # what a region without images begins with


@dataclass(frozen=True)
class Link:
    """Where a step is done; icon: of the button."""

    url: str
    text: str
    icon: str = "chevron-right"


@dataclass(frozen=True)
class Need:
    """Something for a person: what was found, the next step, and its page, if any."""

    state: State
    text: str
    next_step: str
    link: Link | None


@dataclass(frozen=True)
class Step:
    """A step of the start; link: for who may do it, while it's the next one."""

    title: str
    text: str
    state: State
    link: Link | None


@dataclass(frozen=True)
class ImportView:
    """The import that runs."""

    run: ImportRun
    state: State
    amount: str
    note: str


@dataclass(frozen=True)
class MachineRow:
    """A machine that fetches."""

    machine: Machine
    image: str
    amount: str


@dataclass(frozen=True)
class NowView:
    """The page's live part. every_s: seconds until it asks again. is_due: the next check is."""

    headline: State
    announcement: str
    now: Now
    is_due: bool
    steps: tuple[Step, ...]
    needs: tuple[Need, ...]
    running: ImportView | None
    last_state: State | None
    machines: tuple[MachineRow, ...]
    more_machines: int
    events: tuple[EventRow, ...]
    every_s: int


def now_view(now: Now, role: Role, at: datetime) -> NowView:
    """Put a moment into words for this role."""
    needs = [one for one in now.needs if now.start is None or one.name not in _OF_START]
    machines = now.fetching.machines
    found = headline(needs, now)
    return NowView(
        headline=found,
        announcement=_announcement(found, now.run),
        now=now,
        is_due=now.next_start is not None and now.next_start - at < SOON,
        steps=_steps(now.start, now.run, role) if now.start else (),
        needs=tuple(_need(check) for check in needs),
        running=_import_view(now.run) if now.run else None,
        last_state=import_states.of_run(now.last_run) if now.last_run else None,
        machines=tuple(_machine_row(one) for one in machines[:SHOWN_MACHINES]),
        more_machines=max(0, len(machines) - SHOWN_MACHINES),
        events=tuple(event_row(row, role) for row in now.events),
        every_s=BUSY_S if now.run or machines else IDLE_S,
    )


def headline(needs: Sequence[Check], now: Now) -> State:
    """How it goes, in a sentence without its times."""
    told = ""
    if needs:
        number = len(needs)
        told = f"{counted(number, 'thing')} need{'s' if number == 1 else ''} attention"
    if now.run:
        words = f"{_running(now.run)}; {told}" if told else _running(now.run)
        return State(needs[0].severity if needs else Severity.BUSY, words)
    if needs:
        return State(needs[0].severity, told)
    if now.start:
        return State(Severity.INFO, "No images are stored yet")
    if now.last_run is None:
        return State(Severity.OK, "Everything is in order")
    return State(Severity.OK, "Everything is up to date")


def _running(run: ImportRun) -> str:
    found = import_states.in_short(run)
    if run.hold:
        return "The import is paused"
    if found is None or found.severity is Severity.WAIT:
        return "An import is queued"
    share = f": {found.text}" if run.bytes_total else ""
    return f"An import is running{share}"


def _announcement(found: State, run: ImportRun | None) -> str:
    """What a screen reader says when it changes: by quarters, not each percent."""
    if run is None or not run.bytes_total:
        return found.text
    percent = run.bytes_done * 100 // run.bytes_total
    return found.text.replace(f"{percent} %", f"{percent // 25 * 25} percent")


def _need(check: Check) -> Need:
    place = _PAGES.get(check.name.split()[0])
    link = Link(url_for(place[0]), place[1]) if place else None
    source_id = whole(check.name.removeprefix("boot source "))
    if source_id is not None:
        link = Link(url_for("sources.show", source_id=source_id), "Boot source")
    words = {Severity.ERROR: "Problem", Severity.WARN: "Warning"}
    is_named = check.name.lower() in check.found.lower()
    text = check.found if is_named else f"{check.name}: {check.found}"
    text = text[:1].upper() + text[1:]
    if not text.endswith((".", ")")):
        text += "."
    state = State(check.severity, words.get(check.severity, "Note"))
    return Need(state, text, check.next_step, link)


def _steps(start: Start, run: ImportRun | None, role: Role) -> tuple[Step, ...]:
    """The way to the first image; only the next step has a button."""
    source = Link(url_for("sources.new"), "Add boot source", "plus")
    choose = Link(url_for("images.index"), "Select images", "image")
    plan = Link(url_for("imports.show_plan"), "Preview the import", "download")
    is_chosen = start.has_source and start.has_selection
    wanted = (
        ("Add a boot source", "Where images come from, e.g. maas.io.", Right.MANAGE, source),
        ("Select images", "The images your machines can boot.", Right.SELECT, choose),
        ("Import them", "Download and verify every file.", Right.IMPORT, plan),
    )
    done = (start.has_source, is_chosen, False)
    found: list[Step] = []
    for (title, text, right, link), is_done in zip(wanted, done, strict=True):
        is_next = not is_done and all(step.state.severity is Severity.OK for step in found)
        state = State(Severity.OK, "Done") if is_done else State(Severity.OFF, "Later")
        if is_next:
            state = State(Severity.INFO, "Next")
        if is_next and run and link is plan:
            state = State(Severity.BUSY, "Running")
        offered = link if state.text == "Next" and may(role, right) else None
        found.append(Step(title, text, state, offered))
    return tuple(found)


def _import_view(run: ImportRun) -> ImportView:
    amount = note = ""
    if run.bytes_total:
        percent = min(100, run.bytes_done * 100 // run.bytes_total)
        amount = f"{byte_size(run.bytes_done)} of {byte_size(run.bytes_total)} ({percent} %)"
    if run.bytes_per_s:
        left = max(0, run.bytes_total - run.bytes_done) // run.bytes_per_s
        note = byte_speed(run.bytes_per_s) + (f", {duration(left)} left" if left else "")
    return ImportView(run, import_states.of_run(run), amount, note)


def _machine_row(one: Machine) -> MachineRow:
    amount = byte_size(one.size)
    if one.total:
        amount += f" of {byte_size(one.total)}"
    return MachineRow(one, image_name(one.image), amount)


def image_name(folder: str) -> str:
    """What people call the image that a machine asked for: ``ubuntu/noble amd64``."""
    parts = folder.split("/")
    if len(parts) not in (5, 6):
        return folder
    os, arch, _, release, *_ = parts
    return f"{release} {arch}" if os == "custom" else f"{os}/{release} {arch}"
