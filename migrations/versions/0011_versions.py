# SPDX-License-Identifier: Apache-2.0
"""Pins, locks and kept versions of images; when one was fetched; what packages it holds."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_RESOURCE = {
    "pinned_at": sa.DateTime(timezone=True),
    "locked_at": sa.DateTime(timezone=True),
    "keep_versions": sa.Integer(),
    "keep_days": sa.Integer(),
}


def upgrade() -> None:
    with op.batch_alter_table("boot_resource") as batch_op:
        for name, kind in _RESOURCE.items():
            batch_op.add_column(sa.Column(name, kind, nullable=True))
    with op.batch_alter_table("resource_set") as batch_op:
        for name in ("locked_at", "fetched_at"):
            batch_op.add_column(sa.Column(name, sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(
            sa.Column("packages_sha256", sa.String(), server_default="", nullable=False)
        )
        batch_op.create_index(
            batch_op.f("ix_resource_set_packages_sha256"), ["packages_sha256"], unique=False
        )
    with op.batch_alter_table("boot_source_cache") as batch_op:
        batch_op.add_column(
            sa.Column("package_list", sa.JSON(), server_default="{}", nullable=False)
        )
    op.create_table(
        "package_list",
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("stored_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_package_list")),
    )


def downgrade() -> None:
    op.drop_table("package_list")
    with op.batch_alter_table("boot_source_cache") as batch_op:
        batch_op.drop_column("package_list")
    with op.batch_alter_table("resource_set") as batch_op:
        batch_op.drop_index(batch_op.f("ix_resource_set_packages_sha256"))
        for name in ("packages_sha256", "fetched_at", "locked_at"):
            batch_op.drop_column(name)
    with op.batch_alter_table("boot_resource") as batch_op:
        for name in reversed(_RESOURCE):
            batch_op.drop_column(name)
