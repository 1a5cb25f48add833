# SPDX-License-Identifier: Apache-2.0
"""Sizes as people type them."""

from __future__ import annotations

import re

import click

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def parse(context: click.Context, option: click.Parameter, text: str) -> int:
    """Bytes of e.g. 4G, for an option of click."""
    match = re.fullmatch(r"([0-9]{1,12}) ?([KMGT]?)B?", text.upper())
    found = int(match[1]) * _UNITS[match[2]] if match else 0
    if not found:
        raise click.BadParameter(f"{text!r} isn't a size. Give a number and M or G: 4G.")
    return found


def parse_limit(context: click.Context, option: click.Parameter, text: str | None) -> int | None:
    """Bytes, 0 for "none", None where the option isn't given."""
    if text is None or text == "none":
        return None if text is None else 0
    return parse(context, option, text)
