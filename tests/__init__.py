# SPDX-License-Identifier: Apache-2.0
"""The tests of Slipway and what they stand on."""
