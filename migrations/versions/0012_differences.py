# SPDX-License-Identifier: Apache-2.0
"""Products on which a source's index and documents disagree."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("boot_source") as batch_op:
        batch_op.add_column(
            sa.Column("differences", sa.JSON(), server_default="[]", nullable=False)
        )


def downgrade() -> None:
    with op.batch_alter_table("boot_source") as batch_op:
        batch_op.drop_column("differences")
