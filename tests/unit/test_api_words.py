# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a field is said in plain English, also by commands."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, ValidationError

from webapp.api.v1 import answers, words


class Form(BaseModel, extra="forbid"):
    count: int = Field(1, ge=1, le=9)
    name: str = Field("x", min_length=1, max_length=3)
    kind: Literal["one", "two"] = "one"
    names: list[str] = Field(default_factory=list, max_length=1)


@pytest.mark.parametrize(
    ("sent", "field", "said"),
    [
        ({"count": 0}, "count", "Enter a number of at least 1."),
        ({"count": 10}, "count", "Enter a number of at most 9."),
        ({"count": "x"}, "count", "Enter a whole number."),
        ({"count": 1.5}, "count", "Enter a whole number."),
        ({"count": None}, "count", "Enter a whole number."),
        ({"name": ""}, "name", "Enter some text."),
        ({"name": "four"}, "name", "Enter at most 3 characters."),
        ({"name": 1}, "name", "Enter text."),
        ({"kind": "three"}, "kind", "Enter one of 'one' or 'two'."),
        ({"names": ["a", "b"]}, "names", "Enter at most 1 entries."),
        ({"names": "a"}, "names", "Enter a list."),
        ({"other": 1}, "other", "There is no such field."),
    ],
)
def test_each_kind_has_its_words(sent: dict[str, Any], field: str, said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Form.model_validate(sent)
    assert answers.invalid(caught.value).fields == {field: [said]}


def test_a_kind_without_words_keeps_its_own() -> None:
    assert words.of("later", "Value error, Use another name.", {}) == "Use another name."
    assert words.of("less_than", "It lacks its number.", {}) == "It lacks its number."
