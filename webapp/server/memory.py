# SPDX-License-Identifier: Apache-2.0
"""What is loaded once: shared by forks, and looked at by no garbage collection."""

from __future__ import annotations

import gc
import importlib
import pkgutil
from types import ModuleType


def share(*packages: ModuleType) -> None:
    """Load all modules of packages, also those that are imported late, for forks to share."""
    for package in packages:
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    spare_collector()


def spare_collector() -> None:
    """Keep what is loaded out of garbage collections: it stays, and takes time each time.

    A collection also writes to each object that it looks at, and a fork that writes to a page
    gets one of its own.
    """
    gc.collect()
    gc.freeze()
