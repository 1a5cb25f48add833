# SPDX-License-Identifier: Apache-2.0
"""URL rules that cost nothing until a URL is built from them."""

from __future__ import annotations

from collections.abc import Callable

from werkzeug.routing import Rule


class LazyRule(Rule):
    """A rule that compiles its two builders of URLs at their first use.

    Werkzeug generates and compiles two functions for each rule. With 200 rules that is most of
    the time an app takes to start, and a process builds URLs from a few of them.
    """

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        """A builder that takes the rule and the values, as Werkzeug's do."""
        compiled: Callable[..., tuple[str, str]] | None = None
        compile_now = super()._compile_builder

        def build(of: Rule, /, **values: object) -> tuple[str, str]:
            nonlocal compiled
            if compiled is None:
                compiled = compile_now(append_unknown)
            return compiled(of, **values)

        return build
