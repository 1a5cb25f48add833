# SPDX-License-Identifier: Apache-2.0
"""Imports that are paused, and imports that a person asked for."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("import_run") as batch_op:
        batch_op.add_column(sa.Column("hold", sa.String(), server_default="", nullable=False))
        batch_op.add_column(
            sa.Column("is_attended", sa.Boolean(), server_default=sa.true(), nullable=False)
        )


def downgrade() -> None:
    with op.batch_alter_table("import_run") as batch_op:
        batch_op.drop_column("is_attended")
        batch_op.drop_column("hold")
