# SPDX-License-Identifier: Apache-2.0
"""The local mirror: its signed documents, its keys, and what streams say of each image."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_NAMES = ("os", "release", "arch", "subarch")
_DESCRIBING = ("release_title", "release_codename", "release_version", "support_eol")


def upgrade() -> None:
    with op.batch_alter_table("boot_resource") as batch_op:
        batch_op.add_column(sa.Column("product", sa.String(), server_default="", nullable=False))
        batch_op.add_column(
            sa.Column("stream_fields", sa.JSON(), server_default="{}", nullable=False)
        )
    _fill_in()
    op.create_table(
        "signing_key",
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("public", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("signs_from", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", name=op.f("pk_signing_key")),
    )
    op.create_table(
        "published_stream",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("serial", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("updated_at", _TIME, nullable=True),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("files", sa.Integer(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("problem", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_published_stream")),
    )
    op.create_table(
        "published_document",
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("published_at", _TIME, nullable=False),
        sa.Column("replaced_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("path", name=op.f("pk_published_document")),
    )


def downgrade() -> None:
    op.drop_table("published_document")
    op.drop_table("published_stream")
    op.drop_table("signing_key")
    with op.batch_alter_table("boot_resource") as batch_op:
        batch_op.drop_column("stream_fields")
        batch_op.drop_column("product")


def _fill_in() -> None:
    """Note what the sources of the stored images say of them at present."""
    key = ["source_id", *_NAMES]
    resource = sa.table(
        "boot_resource",
        sa.column("id", sa.Integer()),
        sa.column("product", sa.String()),
        sa.column("stream_fields", sa.JSON()),
        *(sa.column(name) for name in key),
    )
    cache = sa.table(
        "boot_source_cache",
        sa.column("product", sa.String()),
        *(sa.column(name) for name in [*key, *_DESCRIBING[:3]]),
        sa.column("support_eol", sa.Date()),
    )
    joined = sa.and_(*(resource.c[name] == cache.c[name] for name in key))
    columns = [cache.c[name] for name in ("product", *_DESCRIBING)]
    connection = op.get_bind()
    found = {
        row.id: {
            "key": row.id,
            "named": row.product,
            "said": {name: str(value) for name in _DESCRIBING if (value := getattr(row, name))},
        }
        for row in connection.execute(
            sa.select(resource.c.id, *columns).join(cache, joined).order_by(cache.c.product)
        )
    }
    if found:
        connection.execute(
            sa.update(resource)
            .where(resource.c.id == sa.bindparam("key"))
            .values(product=sa.bindparam("named"), stream_fields=sa.bindparam("said")),
            list(found.values()),
        )
