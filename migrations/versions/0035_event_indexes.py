# SPDX-License-Identifier: Apache-2.0
"""Events are found by kind or by actor, the newest first."""

from alembic import op

revision = "0035"
down_revision = "0032"
branch_labels = None
depends_on = None

COLUMNS = ("kind", "actor")


def upgrade() -> None:
    for column in COLUMNS:
        op.create_index(f"ix_event_{column}_id", "event", [column, "id"])


def downgrade() -> None:
    for column in COLUMNS:
        op.drop_index(f"ix_event_{column}_id", table_name="event")
