# SPDX-License-Identifier: Apache-2.0
"""Connecting to a mirror that lacks files its index lists."""

from __future__ import annotations

import re

from tests.mirror.faults import Fault
from tests.mirror.server import MirrorServer
from tests.support import signed
from tests.web.sources.form import typed
from tests.web.visitors import Visitor, text_of


def test_a_filtered_mirror_is_shown_with_count_and_names(
    administrator: Visitor, server: MirrorServer, signing_key: signed.SigningKey
) -> None:
    server.set_faults([Fault(path="jammy/amd64/.*/ga-22.04/generic/boot-kernel$", status=404)])
    page = administrator.post("/sources/connect", typed(server, signing_key))
    shown = text_of(page)
    assert page.status_code == 200
    assert "Connected. Signature verified." in shown
    assert re.search(r"of \d+ checked, 1 missing, 0 of another size", shown)
    assert re.search(r"Where jammy/amd64/\S+/boot-kernel", shown)
