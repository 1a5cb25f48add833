# SPDX-License-Identifier: Apache-2.0
"""What is this file, really? Pure: bytes in, words and a verdict out, in bounded memory."""

from webapp.inspection.inspector import HEAD, inspect, inspect_head
from webapp.inspection.judging import WORDS, Declared
from webapp.inspection.report import MAX_DISK, Reason, Report

__all__ = [
    "HEAD",
    "MAX_DISK",
    "WORDS",
    "Declared",
    "Reason",
    "Report",
    "inspect",
    "inspect_head",
]
