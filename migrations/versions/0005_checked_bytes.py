# SPDX-License-Identifier: Apache-2.0
"""When stored bytes were last hashed, the mtime they had then, and what is wrong with bad ones."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("blob") as batch_op:
        batch_op.add_column(sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("mtime_ns", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("fault", sa.String(), server_default="", nullable=False))
        batch_op.create_index(batch_op.f("ix_blob_checked_at"), ["checked_at"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("blob") as batch_op:
        batch_op.drop_index(batch_op.f("ix_blob_checked_at"))
        batch_op.drop_column("fault")
        batch_op.drop_column("mtime_ns")
        batch_op.drop_column("checked_at")
