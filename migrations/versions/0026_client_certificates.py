# SPDX-License-Identifier: Apache-2.0
"""The client certificate of a boot source, its sealed key, and when it expires."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("boot_source") as batch_op:
        for name in ("client_cert", "client_key"):
            batch_op.add_column(sa.Column(name, sa.String(), server_default="", nullable=False))
        batch_op.add_column(
            sa.Column("client_cert_ends_at", sa.DateTime(timezone=True), nullable=True)
        )


def downgrade() -> None:
    with op.batch_alter_table("boot_source") as batch_op:
        for name in ("client_cert_ends_at", "client_key", "client_cert"):
            batch_op.drop_column(name)
