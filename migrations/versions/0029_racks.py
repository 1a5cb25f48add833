# SPDX-License-Identifier: Apache-2.0
"""Racks on other machines, and the tokens that enrol them."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rack_token",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("token_hash", sa.String(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("uses", sa.Integer(), nullable=False),
        sa.Column("uses_left", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rack_token")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_rack_token_token_hash")),
    )
    op.create_table(
        "rack",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("system_id", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("credential_hash", sa.String(), nullable=False),
        sa.Column("token_id", sa.Integer(), nullable=True),
        sa.Column("enrolled_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("mode", sa.String(), nullable=False),
        sa.Column("images", sa.JSON(), nullable=False),
        sa.Column("max_bytes", sa.BigInteger(), nullable=True),
        sa.Column("rate", sa.BigInteger(), nullable=True),
        sa.Column("upstreams", sa.JSON(), nullable=False),
        sa.Column("is_drained", sa.Boolean(), nullable=False),
        sa.Column("verifications", sa.Integer(), nullable=False),
        sa.Column("after_rack_id", sa.Integer(), nullable=True),
        sa.Column("settings_revision", sa.Integer(), nullable=False),
        sa.Column("offered_revision", sa.Integer(), nullable=False),
        sa.Column("offered_serial", sa.Integer(), nullable=False),
        sa.Column("held_state", sa.BigInteger(), nullable=False),
        sa.Column("held_serial", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.Integer(), nullable=False),
        sa.Column("wanted_bytes", sa.BigInteger(), nullable=False),
        sa.Column("hits", sa.BigInteger(), nullable=False),
        sa.Column("misses", sa.BigInteger(), nullable=False),
        sa.Column("sent_bytes", sa.BigInteger(), nullable=False),
        sa.Column("fetched_bytes", sa.BigInteger(), nullable=False),
        sa.Column("speed", sa.BigInteger(), nullable=False),
        sa.Column("verified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("errors", sa.JSON(), nullable=False),
        sa.Column("serving", sa.JSON(), nullable=False),
        sa.Column("reported_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["after_rack_id"],
            ["rack.id"],
            name=op.f("fk_rack_after_rack_id_rack"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["token_id"],
            ["rack_token.id"],
            name=op.f("fk_rack_token_id_rack_token"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rack")),
        sa.UniqueConstraint("credential_hash", name=op.f("uq_rack_credential_hash")),
        sa.UniqueConstraint("name", name=op.f("uq_rack_name")),
        sa.UniqueConstraint("system_id", name=op.f("uq_rack_system_id")),
    )


def downgrade() -> None:
    op.drop_table("rack")
    op.drop_table("rack_token")
