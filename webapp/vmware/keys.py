# SPDX-License-Identifier: Apache-2.0
"""What becomes of each key of a configuration: used, noted, warned about or refused.

The tables hold every key of netplan's reference and of cloud-init's two formats;
docs/rules/network-keys.md shows them to people. Readers get their values from `take`, which
lets no key disappear: it is used, or a finding names it (rule: esxi-key-tables).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher, get_close_matches

from webapp.severity import Severity
from webapp.vmware.model import ERROR, NOTE, SKIPPED, Config, Fix, shown
from webapp.vmware.reading import Place, Value

USED = None  # instead of a severity: no finding is needed
_CLOSE, _VERY_CLOSE = 0.75, 0.9
_MAX_KEY_LENGTH = 40
_MAX_NAMES_LENGTH = 400
_UNREAD = "Readers refuse the file, or ignore the key."
_EMPTY_IS_NOTHING = ("devices", "list")
_TAKES = {
    "text": "a single value",
    "number": "a number",
    "switch": "true or false",
    "map": "a map",
    "devices": "a map of devices",
    "list": "a list",
}


@dataclass(frozen=True)
class Key:
    """One key in one kind of map.

    takes: text, number, switch, map, devices or list. severity: of its finding, or USED.
    esxi: what ESXi makes of it. unless: values that need no finding, since ESXi does just
    that. message: the finding's message, with {name} and {value}.
    """

    name: str
    takes: str
    severity: Severity | None
    esxi: str
    unless: tuple[str, ...] = ()
    message: str = ""
    code: str = ""
    fix: str = ""


@dataclass(frozen=True)
class Taken:
    """What a reader may use of a map. named: the keys that a finding is about."""

    entries: Mapping[str, Value]
    named: frozenset[str]

    def get(self, name: str) -> Value | None:
        """The value of a key that is used; None when it is absent, empty or of a wrong type."""
        return self.entries.get(name)


Table = dict[str, dict[str, Key]]


def table(rows: Mapping[str, tuple[Key, ...]]) -> Table:
    """Kind of map -> name -> key."""
    return {kind: {key.name: key for key in keys} for kind, keys in rows.items()}


def take(
    config: Config,
    value: Value,
    known: Table,
    kind: str,
    *,
    at: Place | None = None,
    spelling: Callable[[str], str] = str,
    fixes: Mapping[str, tuple[Fix, ...]] | None = None,
) -> Taken:
    """Sort the keys of a map: those that are used are returned, the others become findings.

    at: the list item that the map is, whose path the findings carry. spelling: makes
    other spellings of a key the one that the table has. fixes: steps to offer for a key.
    """
    entries: dict[str, Value] = {}
    named: set[str] = set()
    for raw, entry in value.entries.items():
        name = spelling(raw)
        place = Place(entry.at.line, entry.at.column, at.path) if at else entry.at
        key = known[kind].get(name)
        if key is None:
            unknown(config, known, kind, raw, entry, place, name)
        elif _is_empty(entry, key):
            config.find(NOTE, "empty", f"{raw[:60]} is empty.", place)
        elif key.severity is USED and not _fits(entry, key):
            message = f"{raw[:60]} is {shown(entry)}; it takes {_TAKES[key.takes]}."
            fix = key.fix or f"Give {_TAKES[key.takes]}."
            config.find(ERROR, key.code or "wrong-type", message, place, _UNREAD, fix)
        elif name in entries:
            message = f"{raw[:60]} is given twice, in two spellings."
            config.find(ERROR, "already", message, place, "", "Remove one of the two.")
        elif key.severity is USED:
            entries[name] = entry
            continue
        elif _as_text(entry) in key.unless:
            continue
        else:
            steps = (fixes or {}).get(name, ())
            _name(config, key, key.severity, raw, entry, place, steps)
        named.add(name)
    return Taken(entries, frozenset(named))


def is_map(config: Config, value: Value, what: str) -> bool:
    """Whether it is a map; an error when it isn't."""
    if value.kind == "map":
        return True
    message = f"{what} is {shown(value)}; it takes a map."
    config.find(ERROR, "wrong-type", message, value.place, SKIPPED, "Give its keys and values.")
    return False


def unknown(
    config: Config,
    known: Table,
    kind: str,
    name: str,
    value: Value,
    place: Place,
    spelt: str = "",
) -> None:
    """Name a key that nothing knows: with the right one where it looks misspelt.

    spelt: the key in the spelling of the table, where that differs.
    """
    near = _near(config, spelt or name, known[kind], _CLOSE)
    used = {n: key for keys in known.values() for n, key in keys.items() if key.severity is USED}
    other = used.get(name) or (_near(config, name, used, _VERY_CLOSE) if near is None else None)
    if near is not None:
        severity = ERROR if near.severity in (USED, ERROR) else NOTE
        message = f"{name[:60]!r} isn't a known key. Did you mean {near.name}?"
        config.find(severity, "misspelt", message, place, _UNREAD, f"Write {near.name}.")
    elif other is not None:
        kinds = [k for k, keys in known.items() if other.name in keys]
        homes = "a device" if "a device" in kinds else " or ".join(sorted(kinds))
        what = name if name == other.name else f"{name[:60]!r}, which looks like {other.name},"
        message = f"{what} belongs in {homes}, not here."
        config.find(ERROR, "misplaced", message, place, _UNREAD, "Check the indentation.")
    else:
        # Next to the sections, an unknown map may be devices that would be lost.
        severity = ERROR if kind == "network" and value.kind != "scalar" else NOTE
        message = f"{name[:60]!r} isn't a known key; it is ignored."
        fix = "Remove it." if severity == ERROR else ""
        config.find(severity, "unknown-key", message, place, _UNREAD, fix)


def _near(config: Config, name: str, keys: Mapping[str, Key], cutoff: float) -> Key | None:
    if len(name) > _MAX_KEY_LENGTH or config.suggestions <= 0:
        return None
    config.suggestions -= 1
    close = get_close_matches(name.lower(), keys, n=3, cutoff=cutoff)
    # Of equally close ones, e.g. gateway4 and gateway6, the first in the table.
    best = {other for other in close if _closeness(name, other) == _closeness(name, close[0])}
    return next((key for other, key in keys.items() if other in best), None)


def _closeness(name: str, other: str) -> float:
    return SequenceMatcher(None, name.lower(), other).ratio()


def _name(
    config: Config,
    key: Key,
    severity: Severity,
    raw: str,
    entry: Value,
    place: Place,
    fixes: tuple[Fix, ...],
) -> None:
    if severity == ERROR:
        default, code = "isn't possible on ESXi.", "type"
    else:
        default, code = "is ignored on ESXi.", "ignored"
    inside = names_in(entry)
    if key.message:
        message = key.message.format(name=raw, value=inside or _as_text(entry)[:60])
    else:
        message = f"{raw}{f' ({inside})' if inside else ''} {default}"
    fix = key.fix or ("Remove it." if severity == ERROR else "")
    config.find(severity, key.code or code, message, place, key.esxi, fix, fixes)


def _as_text(value: Value) -> str:
    """A value as it is compared with those that need no finding."""
    if value.kind == "map" and "key-management" in value.entries:
        return value.entries["key-management"].text or ""
    text = value.text or ""
    switch = value.as_bool()
    return text if switch is None else str(switch).lower()


def names_in(value: Value) -> str:
    """Every name in a map or list, e.g. ``br0 (interfaces, parameters (stp))``; "" for a scalar."""
    text = ", ".join(dict.fromkeys(_names_in(value)))
    return text if len(text) <= _MAX_NAMES_LENGTH else f"{text[:_MAX_NAMES_LENGTH]}…"


def _names_in(value: Value) -> Iterator[str]:
    for name, entry in value.entries.items():
        inside = ", ".join(dict.fromkeys(_names_in(entry)))
        yield f"{name[:_MAX_KEY_LENGTH]} ({inside})" if inside else name[:_MAX_KEY_LENGTH]
    for item in value.items:
        yield from _names_in(item)


def _is_empty(value: Value, key: Key) -> bool:
    is_nothing = value.kind != "scalar" and not value.entries and not value.items
    return value.is_null or (is_nothing and key.takes in _EMPTY_IS_NOTHING)


def _fits(value: Value, key: Key) -> bool:
    if key.takes == "switch":
        return value.as_bool() is not None
    if key.takes in ("map", "devices"):
        return value.kind == "map"
    return value.kind == "scalar" or (key.takes == "list" and value.kind == "list")
