# SPDX-License-Identifier: Apache-2.0
"""The sealed secret of an API key, for HMAC-SHA1 signatures, and the nonces that were used."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("api_key") as batch_op:
        batch_op.add_column(
            sa.Column("secret_sealed", sa.String(), server_default="", nullable=False)
        )
    op.create_table(
        "api_nonce",
        sa.Column("key_id", sa.Integer(), nullable=False),
        sa.Column("timestamp", sa.BigInteger(), nullable=False),
        sa.Column("nonce", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["key_id"],
            ["api_key.id"],
            name=op.f("fk_api_nonce_key_id_api_key"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("key_id", "timestamp", "nonce", name=op.f("pk_api_nonce")),
    )
    op.create_index(op.f("ix_api_nonce_timestamp"), "api_nonce", ["timestamp"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_api_nonce_timestamp"), table_name="api_nonce")
    op.drop_table("api_nonce")
    with op.batch_alter_table("api_key") as batch_op:
        batch_op.drop_column("secret_sealed")
