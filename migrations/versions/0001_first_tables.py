# SPDX-License-Identifier: Apache-2.0
"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "blob",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("verified_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_blob")),
        sa.UniqueConstraint("sha256", name=op.f("uq_blob_sha256")),
    )
    with op.batch_alter_table("blob", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_blob_state"), ["state"], unique=False)

    op.create_table(
        "boot_source",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("is_enabled", sa.Boolean(), nullable=False),
        sa.Column("keyring_filename", sa.String(), nullable=False),
        sa.Column("keyring_data", sa.LargeBinary(), nullable=True),
        sa.Column("is_unsigned", sa.Boolean(), nullable=False),
        sa.Column("proxy_url", sa.String(), nullable=False),
        sa.Column("ca_file", sa.String(), nullable=False),
        sa.Column("auth_kind", sa.String(), nullable=False),
        sa.Column("auth_username", sa.String(), nullable=False),
        sa.Column("auth_secret", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("refreshed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("index_updated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("signed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("signer_fingerprint", sa.String(), nullable=False),
        sa.Column("error_code", sa.String(), nullable=False),
        sa.Column("error_what", sa.String(), nullable=False),
        sa.Column("error_where", sa.String(), nullable=False),
        sa.Column("error_expected", sa.String(), nullable=False),
        sa.Column("error_got", sa.String(), nullable=False),
        sa.Column("error_next_step", sa.String(), nullable=False),
        sa.CheckConstraint(
            "is_unsigned OR ((keyring_filename = '') <> (keyring_data IS NULL))",
            name=op.f("ck_boot_source_one_keyring"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_boot_source")),
        sa.UniqueConstraint("url", name=op.f("uq_boot_source_url")),
    )
    op.create_table(
        "event",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
    )
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_event_at"), ["at"], unique=False)
        batch_op.create_index(batch_op.f("ix_event_kind"), ["kind"], unique=False)

    op.create_table(
        "import_run",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("trigger", sa.String(), nullable=False),
        sa.Column("requested_by", sa.String(), nullable=False),
        sa.Column("phase", sa.String(), nullable=False),
        sa.Column("lease_owner", sa.String(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("is_cancelled", sa.Boolean(), nullable=False),
        sa.Column("queued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("bytes_total", sa.BigInteger(), nullable=False),
        sa.Column("bytes_done", sa.BigInteger(), nullable=False),
        sa.Column("bytes_per_s", sa.BigInteger(), nullable=False),
        sa.Column("sets_published", sa.Integer(), nullable=False),
        sa.Column("sets_retired", sa.Integer(), nullable=False),
        sa.Column("summary", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_import_run")),
    )
    with op.batch_alter_table("import_run", schema=None) as batch_op:
        batch_op.create_index(
            "uq_import_run_queued",
            ["state"],
            unique=True,
            sqlite_where=sa.text("state = 'queued'"),
            postgresql_where=sa.text("state = 'queued'"),
        )
        batch_op.create_index(
            "uq_import_run_running",
            ["state"],
            unique=True,
            sqlite_where=sa.text("state = 'running'"),
            postgresql_where=sa.text("state = 'running'"),
        )

    op.create_table(
        "login_throttle",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("tokens", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_login_throttle")),
    )
    op.create_table(
        "publication",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("serial", sa.Integer(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_publication")),
    )
    op.create_table(
        "setting",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_setting")),
    )
    op.create_table(
        "user",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("username", sa.String(), nullable=False),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("password_hash", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_login_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user")),
        sa.UniqueConstraint("username", name=op.f("uq_user_username")),
    )
    op.create_table(
        "api_key",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("consumer_key", sa.String(), nullable=False),
        sa.Column("token_key", sa.String(), nullable=False),
        sa.Column("secret_hash", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user.id"], name=op.f("fk_api_key_user_id_user"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("consumer_key", name=op.f("uq_api_key_consumer_key")),
        sa.UniqueConstraint("token_key", name=op.f("uq_api_key_token_key")),
    )
    with op.batch_alter_table("api_key", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_api_key_user_id"), ["user_id"], unique=False)

    op.create_table(
        "boot_resource",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("rtype", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("architecture", sa.String(), nullable=False),
        sa.Column("os", sa.String(), nullable=False),
        sa.Column("release", sa.String(), nullable=False),
        sa.Column("arch", sa.String(), nullable=False),
        sa.Column("subarch", sa.String(), nullable=False),
        sa.Column("kflavor", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("bootloader_type", sa.String(), nullable=False),
        sa.Column("base_image", sa.String(), nullable=False),
        sa.Column("is_rolling", sa.Boolean(), nullable=False),
        sa.Column("subarches", sa.JSON(), nullable=False),
        sa.Column("answers_to", sa.JSON(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=True),
        sa.Column("current_set_id", sa.Integer(), nullable=True),
        sa.Column("gone_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["source_id"],
            ["boot_source.id"],
            name=op.f("fk_boot_resource_source_id_boot_source"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_boot_resource")),
        sa.UniqueConstraint(
            "name", "architecture", name=op.f("uq_boot_resource_name_architecture")
        ),
    )
    with op.batch_alter_table("boot_resource", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_boot_resource_current_set_id"), ["current_set_id"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_boot_resource_os"), ["os"], unique=False)
        batch_op.create_index(batch_op.f("ix_boot_resource_source_id"), ["source_id"], unique=False)

    op.create_table(
        "boot_source_cache",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("product", sa.String(), nullable=False),
        sa.Column("os", sa.String(), nullable=False),
        sa.Column("arch", sa.String(), nullable=False),
        sa.Column("subarch", sa.String(), nullable=False),
        sa.Column("release", sa.String(), nullable=False),
        sa.Column("kflavor", sa.String(), nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("release_title", sa.String(), nullable=False),
        sa.Column("release_codename", sa.String(), nullable=False),
        sa.Column("release_version", sa.String(), nullable=False),
        sa.Column("support_eol", sa.Date(), nullable=True),
        sa.Column("support_esm_eol", sa.Date(), nullable=True),
        sa.Column("bootloader_type", sa.String(), nullable=False),
        sa.Column("is_rolling", sa.Boolean(), nullable=False),
        sa.Column("subarches", sa.JSON(), nullable=False),
        sa.Column("answers_to", sa.JSON(), nullable=False),
        sa.Column("items", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["source_id"],
            ["boot_source.id"],
            name=op.f("fk_boot_source_cache_source_id_boot_source"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_boot_source_cache")),
        sa.UniqueConstraint(
            "source_id",
            "os",
            "arch",
            "subarch",
            "release",
            "kflavor",
            "label",
            name=op.f("uq_boot_source_cache_source_id_os_arch_subarch_release_kflavor_label"),
        ),
    )
    with op.batch_alter_table("boot_source_cache", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_boot_source_cache_os"), ["os"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_boot_source_cache_source_id"), ["source_id"], unique=False
        )

    op.create_table(
        "boot_source_selection",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("os", sa.String(), nullable=False),
        sa.Column("release", sa.String(), nullable=False),
        sa.Column("arches", sa.JSON(), nullable=False),
        sa.Column("subarches", sa.JSON(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["source_id"],
            ["boot_source.id"],
            name=op.f("fk_boot_source_selection_source_id_boot_source"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_boot_source_selection")),
        sa.UniqueConstraint(
            "source_id", "os", "release", name=op.f("uq_boot_source_selection_source_id_os_release")
        ),
    )
    with op.batch_alter_table("boot_source_selection", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_boot_source_selection_source_id"), ["source_id"], unique=False
        )

    op.create_table(
        "file_transfer",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=True),
        sa.Column("blob_id", sa.Integer(), nullable=True),
        sa.Column("image", sa.String(), nullable=False),
        sa.Column("architecture", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("filename", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("bytes_done", sa.BigInteger(), nullable=False),
        sa.Column("bytes_per_s", sa.BigInteger(), nullable=False),
        sa.Column("retries", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["blob_id"],
            ["blob.id"],
            name=op.f("fk_file_transfer_blob_id_blob"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["import_run.id"],
            name=op.f("fk_file_transfer_run_id_import_run"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["source_id"],
            ["boot_source.id"],
            name=op.f("fk_file_transfer_source_id_boot_source"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_file_transfer")),
    )
    with op.batch_alter_table("file_transfer", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_file_transfer_blob_id"), ["blob_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_file_transfer_run_id"), ["run_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_file_transfer_source_id"), ["source_id"], unique=False)

    op.create_table(
        "import_failure",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=True),
        sa.Column("source_url", sa.String(), nullable=False),
        sa.Column("image", sa.String(), nullable=False),
        sa.Column("architecture", sa.String(), nullable=False),
        sa.Column("filename", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("what", sa.String(), nullable=False),
        sa.Column("where", sa.String(), nullable=False),
        sa.Column("expected", sa.String(), nullable=False),
        sa.Column("got", sa.String(), nullable=False),
        sa.Column("next_step", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["import_run.id"],
            name=op.f("fk_import_failure_run_id_import_run"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["source_id"],
            ["boot_source.id"],
            name=op.f("fk_import_failure_source_id_boot_source"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_import_failure")),
    )
    with op.batch_alter_table("import_failure", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_import_failure_run_id"), ["run_id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_import_failure_source_id"), ["source_id"], unique=False
        )

    op.create_table(
        "login_session",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("token_hash", sa.String(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("user_agent", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user.id"], name=op.f("fk_login_session_user_id_user"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_login_session")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_login_session_token_hash")),
    )
    with op.batch_alter_table("login_session", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_login_session_user_id"), ["user_id"], unique=False)

    op.create_table(
        "stream_document",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("content_id", sa.String(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("etag", sa.String(), nullable=False),
        sa.Column("last_modified", sa.String(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("signed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("signer_fingerprint", sa.String(), nullable=False),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["source_id"],
            ["boot_source.id"],
            name=op.f("fk_stream_document_source_id_boot_source"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stream_document")),
        sa.UniqueConstraint("source_id", "path", name=op.f("uq_stream_document_source_id_path")),
    )
    with op.batch_alter_table("stream_document", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_stream_document_source_id"), ["source_id"], unique=False
        )

    op.create_table(
        "resource_set",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("resource_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("is_unsigned", sa.Boolean(), nullable=False),
        sa.Column("signer_fingerprint", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["resource_id"],
            ["boot_resource.id"],
            name=op.f("fk_resource_set_resource_id_boot_resource"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_resource_set")),
        sa.UniqueConstraint(
            "resource_id",
            "version",
            "label",
            name=op.f("uq_resource_set_resource_id_version_label"),
        ),
    )
    with op.batch_alter_table("resource_set", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_resource_set_resource_id"), ["resource_id"], unique=False
        )

    op.create_table(
        "resource_file",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("set_id", sa.Integer(), nullable=False),
        sa.Column("blob_id", sa.Integer(), nullable=False),
        sa.Column("filename", sa.String(), nullable=False),
        sa.Column("ftype", sa.String(), nullable=False),
        sa.Column("extra", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["blob_id"],
            ["blob.id"],
            name=op.f("fk_resource_file_blob_id_blob"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["set_id"],
            ["resource_set.id"],
            name=op.f("fk_resource_file_set_id_resource_set"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_resource_file")),
        sa.UniqueConstraint("set_id", "filename", name=op.f("uq_resource_file_set_id_filename")),
    )
    with op.batch_alter_table("resource_file", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_resource_file_blob_id"), ["blob_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_resource_file_set_id"), ["set_id"], unique=False)

    op.create_table(
        "blob_store",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.String(length=160), nullable=False),
        sa.Column("touched_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_blob_store")),
    )
    with op.batch_alter_table("blob_store", schema=None) as batch_op:
        batch_op.create_index(
            "uq_blob_store_sha256_state",
            ["sha256", "state"],
            unique=True,
            sqlite_where=sa.text("state <> 'gone'"),
            postgresql_where=sa.text("state <> 'gone'"),
        )

    op.create_table(
        "blob_chunk",
        sa.Column("blob_id", sa.BigInteger(), nullable=False),
        sa.Column("start", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["blob_id"],
            ["blob_store.id"],
            name=op.f("fk_blob_chunk_blob_id_blob_store"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("blob_id", "start", name=op.f("pk_blob_chunk")),
    )

    if op.get_bind().dialect.name == "postgresql":
        # Images are compressed already: trying again costs PostgreSQL half of its speed.
        op.execute("ALTER TABLE blob_chunk ALTER COLUMN data SET STORAGE EXTERNAL")

    # boot_resource and resource_set name each other, so one key comes afterwards.
    with op.batch_alter_table("boot_resource") as batch_op:
        batch_op.create_foreign_key(
            op.f("fk_boot_resource_current_set_id_resource_set"),
            "resource_set",
            ["current_set_id"],
            ["id"],
            ondelete="SET NULL",
        )


def downgrade() -> None:
    with op.batch_alter_table("boot_resource") as batch_op:
        batch_op.drop_constraint(
            op.f("fk_boot_resource_current_set_id_resource_set"), type_="foreignkey"
        )

    op.drop_table("blob_chunk")
    with op.batch_alter_table("blob_store", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_blob_store_sha256_state",
            sqlite_where=sa.text("state <> 'gone'"),
            postgresql_where=sa.text("state <> 'gone'"),
        )

    op.drop_table("blob_store")
    with op.batch_alter_table("resource_file", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_resource_file_set_id"))
        batch_op.drop_index(batch_op.f("ix_resource_file_blob_id"))

    op.drop_table("resource_file")
    with op.batch_alter_table("resource_set", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_resource_set_resource_id"))

    op.drop_table("resource_set")
    with op.batch_alter_table("stream_document", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_stream_document_source_id"))

    op.drop_table("stream_document")
    with op.batch_alter_table("login_session", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_login_session_user_id"))

    op.drop_table("login_session")
    with op.batch_alter_table("import_failure", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_import_failure_source_id"))
        batch_op.drop_index(batch_op.f("ix_import_failure_run_id"))

    op.drop_table("import_failure")
    with op.batch_alter_table("file_transfer", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_file_transfer_source_id"))
        batch_op.drop_index(batch_op.f("ix_file_transfer_run_id"))
        batch_op.drop_index(batch_op.f("ix_file_transfer_blob_id"))

    op.drop_table("file_transfer")
    with op.batch_alter_table("boot_source_selection", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_boot_source_selection_source_id"))

    op.drop_table("boot_source_selection")
    with op.batch_alter_table("boot_source_cache", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_boot_source_cache_source_id"))
        batch_op.drop_index(batch_op.f("ix_boot_source_cache_os"))

    op.drop_table("boot_source_cache")
    with op.batch_alter_table("boot_resource", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_boot_resource_source_id"))
        batch_op.drop_index(batch_op.f("ix_boot_resource_os"))
        batch_op.drop_index(batch_op.f("ix_boot_resource_current_set_id"))

    op.drop_table("boot_resource")
    with op.batch_alter_table("api_key", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_api_key_user_id"))

    op.drop_table("api_key")
    op.drop_table("user")
    op.drop_table("setting")
    op.drop_table("publication")
    op.drop_table("login_throttle")
    with op.batch_alter_table("import_run", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_import_run_running",
            sqlite_where=sa.text("state = 'running'"),
            postgresql_where=sa.text("state = 'running'"),
        )
        batch_op.drop_index(
            "uq_import_run_queued",
            sqlite_where=sa.text("state = 'queued'"),
            postgresql_where=sa.text("state = 'queued'"),
        )

    op.drop_table("import_run")
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_event_kind"))
        batch_op.drop_index(batch_op.f("ix_event_at"))

    op.drop_table("event")
    op.drop_table("boot_source")
    with op.batch_alter_table("blob", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_blob_state"))

    op.drop_table("blob")
