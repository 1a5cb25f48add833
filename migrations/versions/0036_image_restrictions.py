# SPDX-License-Identifier: Apache-2.0
"""Images that are kept to networks and machines."""

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "image_restriction",
        sa.Column("os", sa.String(), nullable=False),
        sa.Column("release", sa.String(), nullable=False),
        sa.Column("arch", sa.String(), nullable=False),
        sa.Column("networks", sa.JSON(), nullable=False),
        sa.Column("macs", sa.JSON(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("os", "release", "arch", name=op.f("pk_image_restriction")),
    )


def downgrade() -> None:
    op.drop_table("image_restriction")
