# SPDX-License-Identifier: Apache-2.0
"""Any input: no crash, no hang, the same answer twice."""
