# SPDX-License-Identifier: Apache-2.0
"""Boot loaders that were unpacked."""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "boot_loader",
        sa.Column("set_id", sa.Integer(), nullable=False),
        sa.Column("problem", sa.JSON(), nullable=False),
        sa.Column("unpacked_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["set_id"],
            ["resource_set.id"],
            name=op.f("fk_boot_loader_set_id_resource_set"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("set_id", name=op.f("pk_boot_loader")),
    )
    op.create_table(
        "boot_loader_file",
        sa.Column("set_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["set_id"],
            ["boot_loader.set_id"],
            name=op.f("fk_boot_loader_file_set_id_boot_loader"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("set_id", "name", name=op.f("pk_boot_loader_file")),
    )


def downgrade() -> None:
    op.drop_table("boot_loader_file")
    op.drop_table("boot_loader")
