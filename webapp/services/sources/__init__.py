# SPDX-License-Identifier: Apache-2.0
"""Boot sources, what they offer, and what is selected from them."""
