# SPDX-License-Identifier: Apache-2.0
"""Further addresses of a boot source's stream, and how fast they were."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("boot_source") as batch_op:
        for name in ("mirrors", "mirror_speeds"):
            batch_op.add_column(sa.Column(name, sa.JSON(), server_default="[]", nullable=False))


def downgrade() -> None:
    with op.batch_alter_table("boot_source") as batch_op:
        for name in ("mirror_speeds", "mirrors"):
            batch_op.drop_column(name)
