# SPDX-License-Identifier: Apache-2.0
"""Products of the test mirror, read and changed."""

from __future__ import annotations

from collections.abc import Callable

from tests.mirror.maker import Documents

NOBLE, JAMMY = "ubuntu/noble amd64/ga-24.04", "ubuntu/jammy amd64/ga-22.04"


def drop(*endings: str) -> Callable[[Documents], None]:
    """An edit that takes the products out of the stream whose names end so."""

    def edit(documents: Documents) -> None:
        for document in documents.values():
            for name in [n for n in document["products"] if n.endswith(endings)]:
                del document["products"][name]

    return edit
