# SPDX-License-Identifier: Apache-2.0
"""Imports of single images, priorities of images, and pins to versions that are still to come."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("import_run") as batch_op:
        batch_op.add_column(sa.Column("only_images", sa.JSON(none_as_null=True), nullable=True))
    with op.batch_alter_table("boot_resource") as batch_op:
        batch_op.add_column(
            sa.Column("pinned_version", sa.String(), server_default="", nullable=False)
        )
    op.create_table(
        "image_priority",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("arch", sa.String(), nullable=False),
        sa.Column("priority", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name", "arch", name=op.f("pk_image_priority")),
    )


def downgrade() -> None:
    op.drop_table("image_priority")
    with op.batch_alter_table("boot_resource") as batch_op:
        batch_op.drop_column("pinned_version")
    with op.batch_alter_table("import_run") as batch_op:
        batch_op.drop_column("only_images")
