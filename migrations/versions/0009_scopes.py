# SPDX-License-Identifier: Apache-2.0
"""Tokens that could select images still can: that has a scope of its own."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TOKEN = sa.table("api_token", sa.column("id", sa.Integer), sa.column("scopes", sa.JSON))


def upgrade() -> None:
    _rewrite(lambda scopes: scopes | {"select"} if "admin" in scopes else scopes)


def downgrade() -> None:
    _rewrite(lambda scopes: scopes - {"select", "accounts"})


def _rewrite(change) -> None:
    connection = op.get_bind()
    changed = [
        {"of": row.id, "to": sorted(change(set(row.scopes)))}
        for row in connection.execute(sa.select(TOKEN.c.id, TOKEN.c.scopes))
    ]
    if changed:
        statement = TOKEN.update().where(TOKEN.c.id == sa.bindparam("of"))
        connection.execute(statement.values(scopes=sa.bindparam("to")), changed)
