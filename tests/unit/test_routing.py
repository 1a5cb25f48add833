# SPDX-License-Identifier: Apache-2.0
"""URL rules that compile their builders at first use."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask
from werkzeug.routing import Map, Rule

from webapp.routing import LazyRule


def test_a_start_compiles_no_builder_of_urls(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []

    def note(_code: object, name: str) -> Callable[..., tuple[str, str]]:
        compiled.append(name)
        return lambda *_args, **_values: ("", "")

    monkeypatch.setattr(Rule, "_get_func_code", staticmethod(note))
    Map([Rule("/eager")])
    assert len(compiled) == 2
    Map(
        [LazyRule(rule.rule) for rule in app.url_map.iter_rules()],
        converters=app.url_map.converters,
    )
    assert len(compiled) == 2


def test_urls_are_those_of_werkzeugs_own_rules(app: Flask) -> None:
    rules = [rule for rule in app.url_map.iter_rules() if not rule.build_only]
    assert len(rules) > 150
    for rule in rules:
        assert isinstance(rule, LazyRule)
        eager = Rule(rule.rule, endpoint=rule.endpoint, defaults=rule.defaults)
        bound = Map([eager], converters=app.url_map.converters).bind("lab.example.test")
        names = {name: _value(rule, name) for name in rule.arguments} | {"more": "1 2"}
        for values in (names, names, {**names, "more": "é"}):
            lazy = rule.build(values)
            assert lazy is not None
            assert lazy[1] == bound.build(rule.endpoint, values)


def _value(of: Rule, name: str) -> object:
    return 7 if "Int" in type(of._converters[name]).__name__ else "a b"
