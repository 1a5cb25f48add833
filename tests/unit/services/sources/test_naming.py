# SPDX-License-Identifier: Apache-2.0
"""What boot sources are called."""

from __future__ import annotations

import pytest

from webapp.services.sources.naming import title, titles


@pytest.mark.parametrize(
    ("name", "url", "expected"),
    [
        ("lab", "http://mirror.lab/stable/", "lab"),
        ("", "https://images.maas.io/ephemeral-v3/stable/", "images.maas.io stable"),
        ("", "http://10.0.0.1:8080/", "10.0.0.1:8080"),
        ("", "http://mirror.lab/a/streams/v1/other.sjson", "mirror.lab a"),
        ("", "file:///srv/mirror/", "/srv/mirror"),
        ("", "no address", "no address"),
    ],
    ids=["named", "stream", "root", "index", "folder", "odd"],
)
def test_a_source_is_called_by_its_name_else_by_host_and_stream(
    name: str, url: str, expected: str
) -> None:
    assert title(name, url) == expected


def test_titles_differ() -> None:
    first, second = "https://a.lab/x/stable/", "https://a.lab/y/stable/"
    found = titles([(1, "", first), (2, "", second), (3, "Lab", "https://b.lab/")])
    assert found == {1: f"a.lab stable ({first})", 2: f"a.lab stable ({second})", 3: "Lab"}
