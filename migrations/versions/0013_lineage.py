# SPDX-License-Identifier: Apache-2.0
"""Which token or key created a key, a token or a user; when a session was confirmed."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

PARENTS = (
    ("api_token", "parent_id", "api_token", "CASCADE"),
    ("api_key", "parent_token_id", "api_token", "CASCADE"),
    ("api_key", "parent_key_id", "api_key", "CASCADE"),
    ("user", "parent_id", "api_token", "SET NULL"),
)
TIMES = (("api_key", "expires_at"), ("user", "expires_at"), ("login_session", "confirmed_at"))


def upgrade() -> None:
    for table, column, parent, on_delete in PARENTS:
        with op.batch_alter_table(table) as batch_op:
            batch_op.add_column(sa.Column(column, sa.Integer(), nullable=True))
            batch_op.create_foreign_key(
                batch_op.f(f"fk_{table}_{column}_{parent}"),
                parent,
                [column],
                ["id"],
                ondelete=on_delete,
            )
            batch_op.create_index(batch_op.f(f"ix_{table}_{column}"), [column])
    for table, column in TIMES:
        with op.batch_alter_table(table) as batch_op:
            batch_op.add_column(sa.Column(column, sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    # What ends with its parent ends before nothing remembers it.
    op.execute("DELETE FROM api_key WHERE parent_token_id IS NOT NULL OR parent_key_id IS NOT NULL")
    op.execute("DELETE FROM api_token WHERE parent_id IS NOT NULL")
    op.execute('UPDATE "user" SET is_active = false WHERE parent_id IS NOT NULL')
    for table, column in reversed(TIMES):
        with op.batch_alter_table(table) as batch_op:
            batch_op.drop_column(column)
    for table, column, parent, _ in reversed(PARENTS):
        with op.batch_alter_table(table) as batch_op:
            batch_op.drop_index(batch_op.f(f"ix_{table}_{column}"))
            batch_op.drop_constraint(
                batch_op.f(f"fk_{table}_{column}_{parent}"), type_="foreignkey"
            )
            batch_op.drop_column(column)
