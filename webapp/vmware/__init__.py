# SPDX-License-Identifier: Apache-2.0
"""LEAF. What an ESXi host makes of a machine's network configuration. Pure."""
