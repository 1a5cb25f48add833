# SPDX-License-Identifier: Apache-2.0
"""Images that are bound to a boot source, and changes of sources that can be undone."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "image_binding",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("os", sa.String(), nullable=False),
        sa.Column("release", sa.String(), nullable=False),
        sa.Column("arch", sa.String(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=True),
        sa.Column("source_name", sa.String(), nullable=False),
        sa.Column("bound_by", sa.String(), nullable=False),
        sa.Column("bound_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["source_id"],
            ["boot_source.id"],
            name=op.f("fk_image_binding_source_id_boot_source"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image_binding")),
        sa.UniqueConstraint("os", "release", "arch", name=op.f("uq_image_binding_os_release_arch")),
    )
    op.create_index(op.f("ix_image_binding_source_id"), "image_binding", ["source_id"])
    op.create_table(
        "source_change",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("summary", sa.String(), nullable=False),
        sa.Column("steps", sa.JSON(), nullable=False),
        sa.Column("changed_by", sa.String(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_source_change")),
    )


def downgrade() -> None:
    op.drop_table("source_change")
    op.drop_index(op.f("ix_image_binding_source_id"), "image_binding")
    op.drop_table("image_binding")
