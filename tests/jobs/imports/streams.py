# SPDX-License-Identifier: Apache-2.0
"""Products of the test mirror, read and changed."""

from __future__ import annotations

NOBLE, JAMMY = "ubuntu/noble amd64/ga-24.04", "ubuntu/jammy amd64/ga-22.04"
