# SPDX-License-Identifier: Apache-2.0
"""A stream as numbered pieces that are carried to a site without a network."""
