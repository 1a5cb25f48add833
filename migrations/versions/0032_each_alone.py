# SPDX-License-Identifier: Apache-2.0
"""Images that were stopped alone, and announcements that people hide for themselves."""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("import_run") as batch:
        batch.add_column(
            sa.Column("stopped_images", sa.JSON(), nullable=False, server_default="[]")
        )
    op.create_table(
        "hidden_notice",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=True),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["source_id"],
            ["boot_source.id"],
            name=op.f("fk_hidden_notice_source_id_boot_source"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["user.id"],
            name=op.f("fk_hidden_notice_user_id_user"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hidden_notice")),
    )
    for column in ("user_id", "source_id"):
        op.create_index(op.f(f"ix_hidden_notice_{column}"), "hidden_notice", [column])


def downgrade() -> None:
    op.drop_table("hidden_notice")
    with op.batch_alter_table("import_run") as batch:
        batch.drop_column("stopped_images")
