# SPDX-License-Identifier: Apache-2.0
"""Boot sources that are reached directly beside a proxy for all others."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("boot_source") as batch_op:
        batch_op.add_column(
            sa.Column("is_direct", sa.Boolean(), server_default=sa.false(), nullable=False)
        )


def downgrade() -> None:
    with op.batch_alter_table("boot_source") as batch_op:
        batch_op.drop_column("is_direct")
