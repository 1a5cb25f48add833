# SPDX-License-Identifier: Apache-2.0
"""What every subject stands on: events, settings, secrets, waking the worker, fetching."""
