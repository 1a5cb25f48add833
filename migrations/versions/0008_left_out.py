# SPDX-License-Identifier: Apache-2.0
"""What a source's stream holds that isn't used, and products confirmed by name."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("boot_source") as batch_op:
        for name in ("left_out", "confirmed_products"):
            batch_op.add_column(sa.Column(name, sa.JSON(), server_default="[]", nullable=False))


def downgrade() -> None:
    with op.batch_alter_table("boot_source") as batch_op:
        batch_op.drop_column("confirmed_products")
        batch_op.drop_column("left_out")
