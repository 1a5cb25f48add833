# SPDX-License-Identifier: Apache-2.0
"""What every app of a test process makes alike, made once.

Each test has an app and a database of its own. The code of templates, the builders of URLs and
the SQL of statements are the same in all of them, and making these again took most of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack, contextmanager
from types import CodeType
from unittest import mock

from flask import Flask
from jinja2.bccache import Bucket, BytecodeCache
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.util import LRUCache

from webapp.routing import LazyRule


class Templates(BytecodeCache):
    """The code of templates that an earlier app compiled, by name and text."""

    def __init__(self) -> None:
        self._kept: dict[str, CodeType | None] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """Give back what was compiled from the same text."""
        bucket.code = self._kept.get(bucket.key + bucket.checksum)

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep it for the next app."""
        self._kept[bucket.key + bucket.checksum] = bucket.code


@contextmanager
def shared() -> Iterator[None]:
    """Share templates, builders of URLs and statements of all apps made meanwhile."""
    with ExitStack() as stack:
        options = {**Flask.jinja_options, "bytecode_cache": Templates()}
        stack.enter_context(mock.patch.object(Flask, "jinja_options", options))
        stack.enter_context(mock.patch.object(LazyRule, "_compile_builder", _kept_builders()))
        stack.enter_context(_statements())
        yield


def _kept_builders() -> Callable[..., Callable[..., tuple[str, str]]]:
    """Werkzeug's builders; rules of the same text and defaults have the same ones."""
    kept: dict[Hashable, Callable[..., tuple[str, str]]] = {}
    compile_lazily = LazyRule._compile_builder

    def builder(of: LazyRule, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        key = (of.rule, of.subdomain, tuple((of.defaults or {}).items()), append_unknown)
        if key not in kept:
            kept[key] = compile_lazily(of, append_unknown)
        return kept[key]

    return builder


@contextmanager
def _statements() -> Iterator[None]:
    """SQLAlchemy keeps SQL by dialect; those of a class are made alike in all engines."""
    kept: LRUCache[object, object] = LRUCache(5000)

    def share(connection: Connection) -> None:
        connection.execution_options(compiled_cache=kept)

    def is_alike(one: DefaultDialect, other: object) -> bool:
        return type(one) is type(other)

    def alike(one: DefaultDialect) -> int:
        return hash(type(one))

    event.listen(Engine, "engine_connect", share)
    try:
        with (
            mock.patch.object(DefaultDialect, "__eq__", is_alike),
            mock.patch.object(DefaultDialect, "__hash__", alike),
        ):
            yield
    finally:
        event.remove(Engine, "engine_connect", share)
