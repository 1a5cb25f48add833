# SPDX-License-Identifier: Apache-2.0
"""The local mirror: the prefix of its address, and signatures of files for iPXE."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("published_stream") as batch_op:
        batch_op.add_column(
            sa.Column("prefix", sa.String(), server_default="mirror/", nullable=False)
        )
    op.create_table(
        "code_certificate",
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("chain", sa.LargeBinary(), nullable=False),
        sa.Column("is_own", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", name=op.f("pk_code_certificate")),
    )
    op.create_table(
        "code_signature",
        sa.Column("blob_id", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["blob_id"],
            ["blob.id"],
            name=op.f("fk_code_signature_blob_id_blob"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("blob_id", name=op.f("pk_code_signature")),
    )


def downgrade() -> None:
    op.drop_table("code_signature")
    op.drop_table("code_certificate")
    with op.batch_alter_table("published_stream") as batch_op:
        batch_op.drop_column("prefix")
