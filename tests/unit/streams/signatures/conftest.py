# SPDX-License-Identifier: Apache-2.0
"""A keyring, and gpgv as it is or as we fake it."""

from __future__ import annotations

import pytest

from tests.support.signed_documents import publisher
from webapp.trust.keyrings import Keyring, load_keyring


@pytest.fixture(scope="module")
def keyring() -> Keyring:
    return load_keyring(publisher().public)
