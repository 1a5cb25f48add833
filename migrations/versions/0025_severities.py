# SPDX-License-Identifier: Apache-2.0
"""Findings in reports of uploads have a severity, named as everywhere else."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

SEVERITIES = {"reject": "error", "warn": "warn", "note": "info"}
upload = sa.table("upload", sa.column("id", sa.Integer), sa.column("report", sa.JSON()))


def upgrade() -> None:
    _rename("grade", "severity", SEVERITIES)


def downgrade() -> None:
    _rename("severity", "grade", {new: old for old, new in SEVERITIES.items()})


def _rename(old: str, new: str, words: dict[str, str]) -> None:
    bind = op.get_bind()
    rows = bind.execute(sa.select(upload.c.id, upload.c.report)).all()
    changed = [
        {"which": row.id, "to": {**row.report, "reasons": _reasons(row.report, old, new, words)}}
        for row in rows
        if row.report.get("reasons")
    ]
    if changed:
        statement = sa.update(upload).where(upload.c.id == sa.bindparam("which"))
        bind.execute(statement.values(report=sa.bindparam("to")), changed)


def _reasons(
    report: dict[str, Any], old: str, new: str, words: dict[str, str]
) -> list[dict[str, Any]]:
    return [
        {**{k: v for k, v in reason.items() if k != old}, new: words.get(reason[old], reason[old])}
        if old in reason
        else reason
        for reason in report["reasons"]
    ]
