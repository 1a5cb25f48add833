# SPDX-License-Identifier: Apache-2.0
"""What pages and both APIs share below their requests: raw bodies and tus."""
