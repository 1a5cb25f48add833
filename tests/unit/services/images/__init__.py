# SPDX-License-Identifier: Apache-2.0
"""Which version of an image machines get, and what stays."""
