# SPDX-License-Identifier: Apache-2.0
"""The stores' PostgreSQL database, as the contract suite has it."""

from tests.contract.conftest import store_postgres_url

__all__ = ["store_postgres_url"]
