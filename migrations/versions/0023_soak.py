# SPDX-License-Identifier: Apache-2.0
"""Soak times: how old versions must be, and all versions that a source offers."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("boot_source") as batch_op:
        batch_op.add_column(sa.Column("soak_days", sa.Integer(), nullable=True))
    with op.batch_alter_table("boot_source_cache") as batch_op:
        batch_op.add_column(sa.Column("older", sa.JSON(), server_default="[]", nullable=False))
        # The next refresh fills this in, even of a stream that hasn't changed.
        batch_op.add_column(sa.Column("versions", sa.JSON(), server_default="{}", nullable=False))
    op.create_table(
        "image_soak",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("arch", sa.String(), nullable=False),
        sa.Column("days", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", "arch", name=op.f("pk_image_soak")),
    )


def downgrade() -> None:
    op.drop_table("image_soak")
    with op.batch_alter_table("boot_source_cache") as batch_op:
        batch_op.drop_column("versions")
        batch_op.drop_column("older")
    with op.batch_alter_table("boot_source") as batch_op:
        batch_op.drop_column("soak_days")
