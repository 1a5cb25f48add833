# SPDX-License-Identifier: Apache-2.0
"""Whether a source's login may go over http://; nobody has agreed to that yet."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("boot_source") as batch_op:
        batch_op.add_column(
            sa.Column("auth_in_clear", sa.Boolean(), server_default=sa.false(), nullable=False)
        )


def downgrade() -> None:
    with op.batch_alter_table("boot_source") as batch_op:
        batch_op.drop_column("auth_in_clear")
