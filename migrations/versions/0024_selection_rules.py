# SPDX-License-Identifier: Apache-2.0
"""Rules that select images at each refresh."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "selection_rule",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("os", sa.String(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("pattern", sa.String(), nullable=False),
        sa.Column("arches", sa.JSON(), nullable=False),
        sa.Column("kernels", sa.JSON(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=True),
        sa.Column("found", sa.JSON(), nullable=False),
        sa.Column("evaluated_at", _TIME, nullable=True),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["source_id"],
            ["boot_source.id"],
            name=op.f("fk_selection_rule_source_id_boot_source"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_selection_rule")),
    )
    op.create_index(op.f("ix_selection_rule_source_id"), "selection_rule", ["source_id"])


def downgrade() -> None:
    op.drop_index(op.f("ix_selection_rule_source_id"), table_name="selection_rule")
    op.drop_table("selection_rule")
