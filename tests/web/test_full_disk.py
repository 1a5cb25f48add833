# SPDX-License-Identifier: Apache-2.0
"""The disk of the data folder is full to the last byte: people can still make room."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support import factories
from tests.support.full_disk import MIB, fill, small_disk
from tests.web.visitors import PASSWORD, Visitor
from webapp import create_app, database
from webapp.cli.main import cli
from webapp.config import Settings
from webapp.extensions import db
from webapp.models import BootResource, Role
from webapp.server import supervisor
from webapp.services.accounts import users
from webapp.services.system import reserve


@pytest.fixture
def environ() -> Iterator[dict[str, str]]:
    with small_disk(96 * MIB) as disk:
        yield {
            "SLIPWAY_DATA_DIR": str(disk),
            "SLIPWAY_DEFAULTS": "off",
            "SLIPWAY_SECRET_KEY": "a key for tests and for nothing else",
        }


def test_an_administrator_signs_in_and_deletes_on_a_full_disk(environ: dict[str, str]) -> None:
    app = create_app(Settings.load(environ), plane="web")
    app.testing = True
    with app.app_context():
        database.upgrade(db.engine)
        users.create_user("maria", PASSWORD, Role.ADMINISTRATOR)
        resource = factories.boot_resource({"squashfs": b"x" * 1000})
        resource_id, name = resource.id, resource.name
        reserve.keep()
        db.session.remove()
    disk = Path(environ["SLIPWAY_DATA_DIR"])
    assert (disk / "reserve").stat().st_size == reserve.SIZE
    fill(disk)
    visitor = Visitor(app, None, "192.0.2.1")
    assert visitor.sign_in("maria").status_code == 303
    assert visitor.get("/images/").status_code == 200
    done = CliRunner().invoke(cli, ["image", "delete", name, "--yes"], env=environ)
    assert "<" not in done.output
    with app.app_context():
        assert done.exit_code == 0, done.output
        found = db.session.get(BootResource, resource_id)
        assert found is None or found.current_set_id is None
        assert not (disk / "reserve").exists()
        (disk / "filling").unlink()
        reserve.keep()
        assert (disk / "reserve").exists()
        db.session.remove()
        db.engine.dispose()


def test_the_reserve_is_made_before_anything_else_and_beside_the_database(
    environ: dict[str, str], tmp_path: Path
) -> None:
    disk = Path(environ["SLIPWAY_DATA_DIR"])
    data = tmp_path / "data"
    values = {**environ, "SLIPWAY_DATA_DIR": str(data)}
    values |= {"SLIPWAY_DATABASE_URL": f"sqlite:///{disk}/slipway.db"}
    settings = Settings.load(values)
    assert supervisor.prepare(settings)
    assert not (data / "reserve").exists()
    assert (disk / "reserve").stat().st_size == reserve.SIZE
    fill(disk)
    app = create_app(settings, plane="web")
    app.testing = True
    with app.app_context():
        reserve.release_if_full()
        users.create_user("maria", PASSWORD, Role.ADMINISTRATOR)
    assert Visitor(app, None, "192.0.2.1").sign_in("maria").status_code == 303
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


def test_the_command_line_speaks_in_words_when_nothing_is_left(environ: dict[str, str]) -> None:
    app = create_app(Settings.load(environ), plane="none")
    with app.app_context():
        database.upgrade(db.engine)
        db.session.remove()
        db.engine.dispose()
    fill(Path(environ["SLIPWAY_DATA_DIR"]))
    for command in (
        ["user", "create", "ada", "--password-stdin"],
        ["source", "add", "http://192.0.2.1/"],
        ["status"],
    ):
        done = subprocess.run(
            [Path(sys.executable).with_name("slipway"), *command],
            env={**os.environ, **environ},
            input=PASSWORD + "\n",
            capture_output=True,
            text=True,
            check=False,
        )
        words = done.stdout + done.stderr
        assert done.returncode
        assert "Traceback" not in words
        assert "<" not in words
        assert "database can't be used" in words or "Database unavailable" in words, words
