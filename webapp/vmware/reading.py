# SPDX-License-Identifier: Apache-2.0
"""Read YAML or JSON into values that know their place. Strict, and bounded in every way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from webapp.errors import Problem

MAX_BYTES = 256 << 10
MAX_DEPTH = 24
MAX_NODES = 10_000
_MERGE = "tag:yaml.org,2002:merge"
_NULLS = ("", "~", "null", "Null", "NULL")
_TRUE, _FALSE = ("true", "yes", "on", "y"), ("false", "no", "off", "n")


class Unreadable(Problem):
    """The text isn't a network configuration."""

    code = "config-unreadable"


@dataclass(frozen=True)
class Place:
    """Where a value is: line and column from 1, and its path, e.g. ``config[2].mtu``."""

    line: int = 0
    column: int = 0
    path: str = ""

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column} ({self.path or 'the document'})"


@dataclass(frozen=True)
class Value:
    """One value. Scalars keep their text, since YAML takes some MAC addresses for numbers.

    key: where the key of this value is, None for the items of a list.
    """

    place: Place
    text: str | None = None
    entries: Mapping[str, Value] = field(default_factory=dict)
    items: Sequence[Value] = ()
    kind: str = "scalar"  # scalar, map, list
    key: Place | None = None

    @property
    def at(self) -> Place:
        """Where its key is, or the value itself when it has none."""
        return self.key or self.place

    def get(self, name: str) -> Value | None:
        """The entry of a map; None when it is absent or null."""
        found = self.entries.get(name)
        return None if found is None or found.is_null else found

    @property
    def is_null(self) -> bool:
        """Whether it is an empty scalar."""
        return self.kind == "scalar" and self.text is None

    def as_bool(self) -> bool | None:
        """True or false; None when it is neither."""
        word = (self.text or "").lower()
        return True if word in _TRUE else False if word in _FALSE else None

    def as_list(self) -> Sequence[Value]:
        """The items of a list; a scalar is a list of one (rule: esxi-scalar-lists)."""
        return self.items if self.kind == "list" else () if self.is_null else (self,)


def read(text: str | bytes) -> Value:
    """The document as values with places.

    Aliases and merge keys (``<<``) are written out, within the same bounds: a small text
    could expand without end (rule: esxi-yaml-aliases). Raises Unreadable: too large, too
    deep, not YAML, several documents, a key given twice.
    """
    raw = text.encode() if isinstance(text, str) else text
    if len(raw) > MAX_BYTES:
        raise _unreadable("The configuration is too large.", f"{MAX_BYTES} bytes", f"{len(raw)}")
    try:
        decoded = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _unreadable("The configuration isn't text.", "UTF-8", str(error)[:100]) from None
    try:
        node = _Loader(decoded).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise _unreadable(
            "The configuration isn't YAML.", "YAML or JSON", str(error.problem)[:200], where
        ) from None
    except yaml.YAMLError as error:
        raise _unreadable(
            "The configuration isn't YAML.", "YAML or JSON", str(error)[:200]
        ) from None
    if node is None:
        raise _unreadable("The configuration is empty.", "a network configuration", "nothing")
    return _Reader().value(node, "")


class _Loader(yaml.SafeLoader):
    """Composes nodes, and stops at a bound before it goes on."""

    depth = nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        where = f"line {event.start_mark.line + 1}" if event.start_mark else ""
        is_collection = isinstance(event, yaml.CollectionStartEvent)
        self.depth += is_collection
        self.nodes += 1
        if self.depth > MAX_DEPTH or self.nodes > MAX_NODES:
            raise _too_large(where)
        node = super().compose_node(parent, index)
        self.depth -= is_collection
        return node


class _Reader:
    """Makes values of nodes; every use of an alias counts as what it stands for."""

    def __init__(self) -> None:
        self._nodes = 0
        self._depth = 0

    def value(self, node: yaml.Node, path: str, key: Place | None = None) -> Value:
        """The value of a node. key: where its key is."""
        place = _place(node, path)
        self._nodes += 1
        if self._nodes > MAX_NODES or self._depth > MAX_DEPTH:
            raise _too_large(f"line {place.line}")
        if isinstance(node, yaml.ScalarNode):
            text = str(node.value)
            is_null = node.style is None and text in _NULLS
            return Value(place, text=None if is_null else text, key=key)
        self._depth += 1
        if isinstance(node, yaml.MappingNode):
            found = Value(place, entries=self._entries(node, path), kind="map", key=key)
        else:
            items = [self.value(child, f"{path}[{n}]") for n, child in enumerate(node.value)]
            found = Value(place, items=items, kind="list", key=key)
        self._depth -= 1
        return found

    def _entries(self, node: yaml.MappingNode, path: str) -> dict[str, Value]:
        """The entries of a map: its own, before those of maps that are merged into it."""
        own: dict[str, Value] = {}
        merged: dict[str, Value] = {}
        has_merged = False
        for key, child in node.value:
            where = _place(key, path)
            if not isinstance(key, yaml.ScalarNode):
                raise _unreadable("A key isn't text.", "a name", "a list or map", str(where))
            name = str(key.value)
            is_merge = key.tag == _MERGE
            if name in own or (is_merge and has_merged):
                raise _unreadable("A key is given twice.", "each key once", name[:60], str(where))
            if is_merge:
                has_merged = True
                merged = self._merged(child, path, where)
            else:
                inner = f"{path}.{name}" if path else name
                own[name] = self.value(child, inner, Place(where.line, where.column, inner))
        return own | {name: value for name, value in merged.items() if name not in own}

    def _merged(self, node: yaml.Node, path: str, where: Place) -> dict[str, Value]:
        """The entries of the map, or of the list of maps, under a merge key; the first wins."""
        maps = node.value if isinstance(node, yaml.SequenceNode) else [node]
        found: dict[str, Value] = {}
        for one in maps:
            if not isinstance(one, yaml.MappingNode):
                expected, got = "a map or a list of maps", "something else"
                raise _unreadable("Only maps can be merged by <<.", expected, got, str(where))
            found = dict(self.value(one, path).entries) | found
        return found


def _place(node: yaml.Node, path: str) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1, path)


def _too_large(where: str) -> Unreadable:
    limit = f"at most {MAX_DEPTH} levels and {MAX_NODES} values, each alias written out"
    return _unreadable("The configuration is too deep or too long.", limit, "more", where)


def _unreadable(what: str, expected: str, got: str, where: str = "") -> Unreadable:
    return Unreadable(
        what,
        where=where,
        expected=expected,
        got=got,
        next_step="Give network configuration v1 or netplan v2, as YAML or JSON.",
    )
