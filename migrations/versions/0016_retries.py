# SPDX-License-Identifier: Apache-2.0
"""Why, from where and when a file is tried again; what publishers and their keys announce."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

TEXTS = ("mirror", "cause", "next_step")


def upgrade() -> None:
    with op.batch_alter_table("file_transfer") as batch_op:
        for name in TEXTS:
            batch_op.add_column(sa.Column(name, sa.String(), server_default="", nullable=False))
        batch_op.add_column(sa.Column("retry_at", sa.DateTime(timezone=True), nullable=True))
    with op.batch_alter_table("import_run") as batch_op:
        batch_op.add_column(sa.Column("retry_asked_at", sa.DateTime(timezone=True), nullable=True))
    with op.batch_alter_table("boot_source") as batch_op:
        for name in ("warnings", "notices"):
            batch_op.add_column(sa.Column(name, sa.JSON(), server_default="[]", nullable=False))


def downgrade() -> None:
    with op.batch_alter_table("boot_source") as batch_op:
        for name in ("notices", "warnings"):
            batch_op.drop_column(name)
    with op.batch_alter_table("import_run") as batch_op:
        batch_op.drop_column("retry_asked_at")
    with op.batch_alter_table("file_transfer") as batch_op:
        for name in ("retry_at", *reversed(TEXTS)):
            batch_op.drop_column(name)
