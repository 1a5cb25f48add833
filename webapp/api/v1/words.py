# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a field of a request, in plain English: pydantic's kinds of error. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_WORDS = {
    "missing": "This is required.",
    "extra_forbidden": "There is no such field.",
    "greater_than_equal": "Enter a number of at least {ge}.",
    "greater_than": "Enter a number above {gt}.",
    "less_than_equal": "Enter a number of at most {le}.",
    "less_than": "Enter a number below {lt}.",
    "multiple_of": "Enter a multiple of {multiple_of}.",
    "finite_number": "Enter a number.",
    "int_from_float": "Enter a whole number.",
    "int_parsing": "Enter a whole number.",
    "int_parsing_size": "This number is too large.",
    "int_type": "Enter a whole number.",
    "float_parsing": "Enter a number.",
    "float_type": "Enter a number.",
    "bool_parsing": "Enter true or false.",
    "bool_type": "Enter true or false.",
    "string_type": "Enter text.",
    "string_too_short": "Enter at least {min_length} characters.",
    "string_too_long": "Enter at most {max_length} characters.",
    "string_pattern_mismatch": "Enter text of the form {pattern}.",
    "string_unicode": "Enter text in UTF-8.",
    "literal_error": "Enter one of {expected}.",
    "enum": "Enter one of {expected}.",
    "list_type": "Enter a list.",
    "tuple_type": "Enter a list.",
    "set_type": "Enter a list.",
    "too_long": "Enter at most {max_length} entries.",
    "too_short": "Enter at least {min_length} entries.",
    "dict_type": "Enter an object.",
    "model_type": "Enter an object.",
    "model_attributes_type": "Enter an object.",
    "json_invalid": "This isn't JSON: {error}.",
    "datetime_from_date_parsing": "Enter a time, e.g. 2026-01-31T12:00:00Z.",
    "datetime_parsing": "Enter a time, e.g. 2026-01-31T12:00:00Z.",
    "datetime_type": "Enter a time, e.g. 2026-01-31T12:00:00Z.",
    "timezone_aware": "Enter a time with its zone, e.g. 2026-01-31T12:00:00Z.",
    "date_from_datetime_parsing": "Enter a date, e.g. 2026-01-31.",
    "date_parsing": "Enter a date, e.g. 2026-01-31.",
    "ip_any_address": "Enter an IP address.",
    "ip_any_network": "Enter a network, e.g. 10.0.0.0/8.",
}
_ONE_CHARACTER = {
    "string_too_short": "Enter some text.",
    "too_short": "Enter at least one entry.",
}


def of(kind: str, message: str, context: Mapping[str, Any]) -> str:
    """A sentence for an error of this kind; its own message where there is none."""
    words = _ONE_CHARACTER.get(kind) if context.get("min_length") == 1 else None
    words = words or _WORDS.get(kind)
    if words is None:
        return message.removeprefix("Value error, ")
    try:
        return words.format(**context)
    except KeyError:
        return message
