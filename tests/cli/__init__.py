# SPDX-License-Identifier: Apache-2.0
"""The command line as people and scripts run it."""
