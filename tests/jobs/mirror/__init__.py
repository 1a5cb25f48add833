# SPDX-License-Identifier: Apache-2.0
"""The local mirror: what the region publishes, read by the programs that read streams."""
