# SPDX-License-Identifier: Apache-2.0
"""What one version changes against another."""

from __future__ import annotations

from webapp.services.images import differences
from webapp.services.images.differences import Change, Contents, File

OLD = Contents(
    "1",
    {"boot-kernel": File("k1", 10), "squashfs": File("r1", 100), "dtb": File("d", 1)},
    {"ga-24.04": "linux-generic 6.8.0.1"},
    {"bash": "5.1", "vim": "9.0", "gone": "1"},
)
NEW = Contents(
    "2",
    {"boot-kernel": File("k1", 10), "squashfs": File("r2", 120), "initrd": File("i", 7)},
    {"ga-24.04": "linux-generic 6.8.0.2"},
    {"bash": "5.2", "vim": "9.0", "new": "2"},
)


def test_packages_kernels_files_and_bytes_are_told() -> None:
    found = differences.compare(OLD, NEW)
    assert found.packages == (
        Change("bash", "5.1", "5.2"),
        Change("gone", "1", ""),
        Change("new", "", "2"),
    )
    assert [change.kind for change in found.packages] == ["changed", "removed", "added"]
    assert [found.count(kind) for kind in ("added", "removed", "changed")] == [1, 1, 1]
    assert found.kernels == (Change("ga-24.04", "linux-generic 6.8.0.1", "linux-generic 6.8.0.2"),)
    assert [change.name for change in found.files] == ["dtb", "initrd", "squashfs"]
    assert (found.size_before, found.size_after, found.new_bytes) == (111, 137, 127)


def test_a_version_does_not_differ_from_itself() -> None:
    found = differences.compare(OLD, OLD)
    assert (found.packages, found.kernels, found.files, found.new_bytes) == ((), (), (), 0)


def test_packages_that_are_not_known_are_not_called_removed() -> None:
    found = differences.compare(OLD, Contents("2", NEW.files))
    assert found.packages is None
    assert found.unknown == ("2",)


def test_a_list_has_a_name_and_a_version_on_each_line() -> None:
    text = "bash\t5.1-6\nlibc6:amd64 2.39\n\nnonsense\nthree words here\n" + "x\ty\r\n"
    assert differences.parse_packages(text) == {"bash": "5.1-6", "libc6:amd64": "2.39", "x": "y"}


def test_no_more_packages_are_read_than_an_image_can_have() -> None:
    lines = (f"p{n} 1" for n in range(differences.MAX_PACKAGES + 5))
    assert len(differences.parse_packages("\n".join(lines))) == differences.MAX_PACKAGES
