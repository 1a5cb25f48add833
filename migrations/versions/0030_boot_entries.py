# SPDX-License-Identifier: Apache-2.0
"""What machines boot from the network."""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "boot_entry",
        sa.Column("machine", sa.String(), nullable=False),
        sa.Column("os", sa.String(), nullable=False),
        sa.Column("release", sa.String(), nullable=False),
        sa.Column("arch", sa.String(), nullable=False),
        sa.Column("subarch", sa.String(), nullable=False),
        sa.Column("parameters", sa.String(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("machine", name=op.f("pk_boot_entry")),
    )


def downgrade() -> None:
    op.drop_table("boot_entry")
