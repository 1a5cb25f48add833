# SPDX-License-Identifier: Apache-2.0
"""The state of the whole system, and its upkeep."""
