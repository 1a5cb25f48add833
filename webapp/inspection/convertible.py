# SPDX-License-Identifier: Apache-2.0
"""What a server can make of a file that machines can't boot as it is."""

from __future__ import annotations

from webapp.inspection.report import REJECT, WARN, Report, human

PACK = "pack"
_ROOTS = ("", "tgz", "tbz", "txz")


def conversion(report: Report, wanted: str = "", *, has_qemu: bool = True) -> str:
    """The next step towards an image: a compression or tar to unpack, PACK for a root
    tarball, or qemu-img's name of a format; "" when there is none.

    wanted: the declared file type as clients write it.
    """
    if report.compression in ("zstd", "lz4"):
        return report.compression
    if report.container == "packed":
        return report.compression
    qemu = report.virtual_format
    if qemu:
        inner = report.compression or ("tar" if report.root is not None else qemu)
        return inner if has_qemu else ""
    if not _is_root(report, wanted):
        return ""
    if not report.compression:
        return PACK
    return report.compression if wanted == "tgz" and report.compression != "gzip" else ""


def announce(report: Report, wanted: str = "", *, has_qemu: bool = True) -> Report:
    """Turn the rejection of a convertible file into a warning that it will be converted."""
    if not conversion(report, wanted, has_qemu=has_qemu):
        return report
    codes = {report.container, "compression"}
    to_root = _is_root(report, wanted)
    if report.has_root is not None:
        to_root = report.has_root
    elif report.compression in ("zstd", "lz4"):
        to_root = wanted in _ROOTS[1:]
    forecast = report.forecast or (report.disk.size if report.disk is not None else 0)
    if to_root:
        codes.add("type")
        size = f" It is {human(forecast)} unpacked." if forecast else ""
        made = f"recompressed with gzip.{size}"
    elif forecast:
        made = f"converted to a raw disk of {human(forecast)}."
    else:
        made = "converted to a raw disk. How large that is shows only then."
    report.suggested["filetype"] = "tgz" if to_root else "ddraw"
    report.reasons = [r for r in report.reasons if r.severity != REJECT or r.code not in codes]
    report.add(WARN, "convert", f"This is {report.words}. It will be {made}")
    return report


def _is_root(report: Report, wanted: str) -> bool:
    """Whether it is a root tarball; by its head alone, one that may be and is declared so."""
    if report.container != "tar" or report.disk_in_tar or report.root is None:
        return False
    return report.root.has_shell or (not report.is_whole and wanted in _ROOTS)
