# SPDX-License-Identifier: Apache-2.0
"""The bin: since when an image is in it, why, by whom, and what was current."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("boot_resource") as batch_op:
        batch_op.add_column(sa.Column("binned_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("binned_set_id", sa.Integer(), nullable=True))
        for name in ("binned_why", "binned_by"):
            batch_op.add_column(sa.Column(name, sa.String(), server_default="", nullable=False))
    with op.batch_alter_table("resource_set") as batch_op:
        batch_op.add_column(
            sa.Column("is_binned", sa.Boolean(), server_default=sa.false(), nullable=False)
        )


def downgrade() -> None:
    with op.batch_alter_table("resource_set") as batch_op:
        batch_op.drop_column("is_binned")
    with op.batch_alter_table("boot_resource") as batch_op:
        for name in ("binned_by", "binned_why", "binned_set_id", "binned_at"):
            batch_op.drop_column(name)
