# SPDX-License-Identifier: Apache-2.0
"""Boot sources, their selections and what they offer."""
