# SPDX-License-Identifier: Apache-2.0
"""Whether a disk is large enough for an ESXi version."""

from __future__ import annotations

import pytest

from webapp.vmware import storage


@pytest.mark.parametrize(
    ("target", "errors"),
    [
        (storage.Target("6.7", 10 << 30), set()),
        (storage.Target("6.7", 9 << 30), {"size"}),
        (storage.Target("8", 32 << 30), set()),
        (storage.Target("8", 31 << 30), {"size"}),
        (storage.Target("7", 64 << 30, "vmfs6"), {"layout"}),
        (storage.Target("6.7", 64 << 30, "vmfs7"), {"layout"}),
        (storage.Target("9", 64 << 30, "linux"), set()),
        (storage.Target("8", 64 << 30, "lvm"), {"layout"}),
        (storage.Target("8", 64 << 30, "vmfs7", 0), {"datastore"}),
        (storage.Target("8", 64 << 30, "vmfs7", 1), set()),
        (storage.Target("8", 64 << 30, has_serial=False), {"serial"}),
        (storage.Target("8", 64 << 30, partitions_changed=(8,)), set()),
        (storage.Target("8", 64 << 30, partitions_changed=(7,)), {"reserved"}),
        (storage.Target("6.7", 64 << 30, partitions_changed=(3,)), set()),
        (storage.Target("6.7", 64 << 30, partitions_changed=(9,)), {"reserved"}),
        (storage.Target("6.5", 64 << 30), {"version"}),
        (storage.Target("12", 64 << 30), {"version"}),
        (storage.Target("", 64 << 30), {"version"}),
    ],
)
def test_storage_is_held_against_the_version(target: storage.Target, errors: set[str]) -> None:
    found = storage.check(target)
    assert {r.code for r in found.remarks if r.severity == "error"} == errors
    assert found.is_fine is not bool(errors)
    assert all(r.message.endswith(".") for r in found.remarks)
