# SPDX-License-Identifier: Apache-2.0
"""Logins in proxies' addresses, and what follows the "?" of a fetched URL, are encrypted."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

SETTING, LOGIN = "http_proxy", "http_proxy_login"
HIDDEN = "***"

source = sa.table("boot_source", sa.column("id"), sa.column("proxy_url"), sa.column("proxy_login"))
upload = sa.table(
    "upload", sa.column("id"), sa.column("origin"), sa.column("place"), sa.column("address")
)
setting = sa.table("setting", sa.column("key"), sa.column("value", sa.JSON()))


def upgrade() -> None:
    _overwrite_deleted()
    for name, column in (("boot_source", "proxy_login"), ("upload", "address")):
        with op.batch_alter_table(name) as batch_op:
            batch_op.add_column(sa.Column(column, sa.String(), server_default="", nullable=False))
    seal = op.get_context().config.attributes["seal"]
    bind = op.get_bind()
    rows = bind.execute(sa.select(source).where(source.c.proxy_url.contains("@"))).all()
    for row in rows:
        shown, login = _split(row.proxy_url)
        values = {"proxy_url": shown, "proxy_login": seal(login)}
        bind.execute(sa.update(source).where(source.c.id == row.id).values(values))
    kept = bind.scalar(sa.select(setting.c.value).where(setting.c.key == SETTING))
    if isinstance(kept, str) and "@" in kept:
        shown, login = _split(kept)
        bind.execute(sa.update(setting).where(setting.c.key == SETTING).values(value=shown))
        bind.execute(sa.insert(setting).values(key=LOGIN, value=seal(login)))
    has_query = (upload.c.origin == "url") & upload.c.place.contains("?")
    for row in bind.execute(sa.select(upload).where(has_query)).all():
        values = {"place": row.place.partition("?")[0] + "?…", "address": seal(row.place)}
        bind.execute(sa.update(upload).where(upload.c.id == row.id).values(values))


def downgrade() -> None:
    unseal = op.get_context().config.attributes["unseal"]
    bind = op.get_bind()
    for row in bind.execute(sa.select(source).where(source.c.proxy_login != "")).all():
        address = _joined(row.proxy_url, unseal(row.proxy_login))
        bind.execute(sa.update(source).where(source.c.id == row.id).values(proxy_url=address))
    login = bind.scalar(sa.select(setting.c.value).where(setting.c.key == LOGIN))
    if login:
        shown = bind.scalar(sa.select(setting.c.value).where(setting.c.key == SETTING))
        address = _joined(str(shown), unseal(login))
        bind.execute(sa.update(setting).where(setting.c.key == SETTING).values(value=address))
    bind.execute(sa.delete(setting).where(setting.c.key == LOGIN))
    for row in bind.execute(sa.select(upload).where(upload.c.address != "")).all():
        values = {"place": unseal(row.address)}
        bind.execute(sa.update(upload).where(upload.c.id == row.id).values(values))
    for name, column in (("upload", "address"), ("boot_source", "proxy_login")):
        with op.batch_alter_table(name) as batch_op:
            batch_op.drop_column(column)


def _overwrite_deleted() -> None:
    """Have SQLite overwrite what is replaced: clear text stays in no free page."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute("PRAGMA secure_delete=ON")


def _split(address: str) -> tuple[str, str]:
    start, mark, rest = address.partition("://")
    login, _, host = rest.rpartition("@")
    user, _, password = login.partition(":")
    return f"{start}{mark}{user + ':' if password else ''}{HIDDEN}@{host}", login


def _joined(shown: str, login: str) -> str:
    start, mark, rest = shown.partition("://")
    return f"{start}{mark}{login}@{rest.rpartition('@')[2]}"
