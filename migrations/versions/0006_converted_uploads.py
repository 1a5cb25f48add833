# SPDX-License-Identifier: Apache-2.0
"""What an upload was before it was converted to a raw disk."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("upload") as batch_op:
        batch_op.add_column(sa.Column("original", sa.JSON(), server_default="{}", nullable=False))


def downgrade() -> None:
    with op.batch_alter_table("upload") as batch_op:
        batch_op.drop_column("original")
