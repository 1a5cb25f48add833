# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL's programs: found, called without a password in their arguments, explained."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from webapp.errors import Problem
from webapp.services.backups import postgres

PASSWORD = "correct-horse"
URL = f"postgresql+psycopg://me:{PASSWORD}@db.example.test:5433/slipway?sslmode=require"


def pretend(folder: Path, script: str) -> None:
    """A pg_dump that does as the script says."""
    program = folder / "pg_dump"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_a_password_is_passed_by_the_environment_and_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    pretend(tmp_path, f'echo "$@" > {tmp_path}/args; echo "$PGPASSWORD" > {tmp_path}/password')
    postgres.dump(create_engine(URL), tmp_path / "dump", "1-1", ("blob_chunk",))
    args = (tmp_path / "args").read_text()
    assert PASSWORD not in args
    assert "host=db.example.test" in args
    assert "sslmode=require" in args
    assert "--exclude-table-data=blob_chunk" in args
    assert (tmp_path / "password").read_text().strip() == PASSWORD
    pretend(tmp_path, 'echo "no entry for $PGPASSWORD" >&2; exit 1')
    with pytest.raises(Problem, match="pg_dump failed") as caught:
        postgres.dump(create_engine(URL), tmp_path / "dump", "1-1", ())
    assert "no entry for" in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_a_missing_program_names_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgres, "_INSTALLED", tmp_path)
    with pytest.raises(Problem, match="pg_dump isn't installed") as caught:
        postgres.program("pg_dump")
    assert "postgresql-client" in caught.value.next_step
    for version in ("9", "15", "16"):
        (tmp_path / version / "bin").mkdir(parents=True)
        (tmp_path / version / "bin" / "pg_dump").touch()
    assert postgres.program("pg_dump") == str(tmp_path / "16" / "bin" / "pg_dump")
