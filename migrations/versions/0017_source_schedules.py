# SPDX-License-Identifier: Apache-2.0
"""Boot sources with a schedule of their own, and imports of some sources only."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("boot_source") as batch_op:
        batch_op.add_column(sa.Column("schedule", sa.String(), server_default="", nullable=False))
        batch_op.add_column(sa.Column("imported_at", sa.DateTime(timezone=True), nullable=True))
    with op.batch_alter_table("import_run") as batch_op:
        batch_op.add_column(sa.Column("source_ids", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("import_run") as batch_op:
        batch_op.drop_column("source_ids")
    with op.batch_alter_table("boot_source") as batch_op:
        batch_op.drop_column("imported_at")
        batch_op.drop_column("schedule")
