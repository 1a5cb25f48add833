# SPDX-License-Identifier: Apache-2.0
"""Import runs: planned, carried out, reported."""
