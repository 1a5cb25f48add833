# SPDX-License-Identifier: Apache-2.0
"""Bytes that machines fetched, by day; of the days before, what their events say."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None

DAYS = 7  # as many as the overview shows
EVENT = sa.table(
    "event",
    sa.column("kind", sa.String()),
    sa.column("at", sa.DateTime(timezone=True)),
    sa.column("detail", sa.JSON()),
)


def upgrade() -> None:
    made = op.create_table(
        "day_traffic",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_day_traffic")),
    )
    since = datetime.now(UTC) - timedelta(days=DAYS)
    rows = op.get_bind().execute(
        sa.select(EVENT.c.at, EVENT.c.detail).where(
            EVENT.c.kind == "image.fetched", EVENT.c.at >= since
        )
    )
    sizes: Counter[date] = Counter()
    for at, detail in rows:
        day = at.astimezone(UTC) if at.tzinfo else at
        sizes[day.date()] += int(detail.get("bytes", 0))
    op.bulk_insert(made, [{"day": day, "size": size} for day, size in sizes.items()])


def downgrade() -> None:
    op.drop_table("day_traffic")
