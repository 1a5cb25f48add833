# SPDX-License-Identifier: Apache-2.0
"""The network plan of ESXi hosts."""
