# SPDX-License-Identifier: Apache-2.0
"""Commands that do what the pages do, through ``/api/v1``: on this machine or on another one."""
