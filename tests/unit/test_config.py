# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from webapp.config import (
    MASK,
    ROOT,
    Settings,
    SettingsProblem,
    env_name,
    setting_fields,
    table,
    unknown_names,
)


def test_every_setting_has_a_default_that_is_valid() -> None:
    settings = Settings.load({})
    assert settings.web_bind == "0.0.0.0:5240"
    assert settings.rack_bind == "0.0.0.0:5248"
    assert settings.store == "filesystem"
    assert settings.defaults is True
    assert settings.data_dir == Path.cwd() / "var"


def test_the_data_folder_moves_what_lies_in_it(tmp_path: Path) -> None:
    settings = Settings.load({"SLIPWAY_DATA_DIR": str(tmp_path)})
    assert settings.database_url == f"sqlite:///{tmp_path}/slipway.db"
    assert settings.queue_url == f"sqlite:///{tmp_path}/queue.db"
    assert settings.store_dir == tmp_path / "store"


def test_a_relative_database_file_is_below_the_working_folder() -> None:
    settings = Settings.load({"SLIPWAY_DATABASE_URL": "sqlite:///some/file.db"})
    assert settings.database_url == f"sqlite:///{Path.cwd()}/some/file.db"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("SLIPWAY_STORE", "s4", "filesystem or database"),
        ("SLIPWAY_WEB_BIND", "5240", "ADDRESS:PORT"),
        ("SLIPWAY_WEB_BIND", "0.0.0.0:99999", "ADDRESS:PORT"),
        ("SLIPWAY_WEB_BIND", ":::5240", "brackets"),
        ("SLIPWAY_WEB_BIND", "::1:5240", "brackets"),
        ("SLIPWAY_RACK_BIND", "fd00::1:5248", "brackets"),
        ("SLIPWAY_RACK_BIND", "[fd00::1:5248", "brackets"),
        ("SLIPWAY_RACK_BIND", "[10.0.0.1]:5248", "brackets"),
        ("SLIPWAY_DEFAULTS", "maybe", "on or off"),
        ("SLIPWAY_DATABASE_URL", "mysql://u:geheim@h/d", "sqlite:"),
        ("SLIPWAY_QUEUE_URL", "redis://h", "sqlite:"),
        ("SLIPWAY_PUBLIC_URL", "slipway.lab", "http"),
        ("SLIPWAY_PUBLIC_URL", "http://[::1", "http"),
        ("SLIPWAY_DEFAULT_SOURCE_URL", "ftp://mirror/", "http"),
        ("SLIPWAY_IMPORT_INTERVAL", "0", "from 1 to"),
        ("SLIPWAY_IMPORT_INTERVAL", "-5", "from 1 to"),
        ("SLIPWAY_IMPORT_INTERVAL", "²", "from 1 to"),
        ("SLIPWAY_DENY_NETWORKS", "10.0.0.0/8,lan", "networks"),
        ("SLIPWAY_ACCEL_PREFIX", "store", "/_store/"),
        ("SLIPWAY_LOG_LEVEL", "loud", "debug or info"),
        ("SLIPWAY_DATABASE_URL", "sqlite:///", "sqlite:"),
        ("SLIPWAY_DATABASE_URL", "sqlite:///:memory:", "sqlite:"),
        ("SLIPWAY_DATABASE_URL", "postgresql://u:geheim@h:port/x", "sqlite:"),
        ("SLIPWAY_DATA_DIR", "~nobody-of-this-name/x", "a path"),
        ("SLIPWAY_DOWNLOADS", "9" * 5000, "from 1 to"),
        ("SLIPWAY_RACK_BIND", "0.0.0.0:" + "9" * 5000, "ADDRESS:PORT"),
        ("SLIPWAY_PUBLIC_URL", "http://lab/?y=1", "http"),
        ("SLIPWAY_PUBLIC_URL", "http://a b/", "http"),
    ],
)
def test_a_wrong_value_is_refused_in_a_sentence(name: str, value: str, expected: str) -> None:
    with pytest.raises(SettingsProblem) as caught:
        Settings.load({name: value})
    assert caught.value.where == name
    assert expected in caught.value.expected
    assert "geheim" not in str(caught.value)


def test_a_wrong_value_stops_the_command_without_a_traceback(tmp_path: Path) -> None:
    env = os.environ | {"SLIPWAY_DATA_DIR": str(tmp_path), "SLIPWAY_STORE": "tape"}
    done = subprocess.run(
        [sys.executable, "-m", "webapp.cli.main", "settings"],
        env=env, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "SLIPWAY_STORE" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_misspelt_setting_is_pointed_out() -> None:
    environ = {"SLIPWAY_STOER": "database", "SLIPWAY_SECRET_KEY_FILE": "x", "PATH": "/bin"}
    assert unknown_names(environ) == ["SLIPWAY_STOER"]


def test_secrets_may_come_from_a_file_and_are_masked(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("very secret\n")
    settings = Settings.load(
        {
            "SLIPWAY_SECRET_KEY_FILE": str(tmp_path / "key"),
            "SLIPWAY_DATABASE_URL": "postgresql://lab:hunter2@db/slipway?password=hunter2",
        }
    )
    assert settings.secret_key == "very secret"
    shown = {name: (value, origin) for name, value, origin, _ in table(settings)}
    assert shown["SLIPWAY_SECRET_KEY"] == (MASK, f"file {tmp_path / 'key'}")
    assert shown["SLIPWAY_DATABASE_URL"][0] == f"postgresql://lab:{MASK}@db/slipway?{MASK}"
    assert shown["SLIPWAY_STORE"] == ("filesystem", "default")


def test_the_secret_key_is_made_once_and_kept_private(tmp_path: Path) -> None:
    environ = {"SLIPWAY_DATA_DIR": str(tmp_path / "new")}
    first = Settings.load(environ).prepared()
    second = Settings.load(environ).prepared()
    assert first.secret_key == second.secret_key
    assert len(first.secret_key) >= 43
    kept = tmp_path / "new" / "secret.key"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert [p.name for p in kept.parent.iterdir()] == ["secret.key"]


def test_an_unusable_data_folder_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsProblem, match="data folder"):
        Settings.load({"SLIPWAY_DATA_DIR": str(tmp_path / "file" / "var")}).prepared()


def test_the_readme_has_every_setting_with_its_default_and_help() -> None:
    readme = (ROOT / "README.md").read_text()
    rows = [
        f"| `{env_name(s.name)}` | `{s.metadata['default'] or '(none)'}` | {s.metadata['help']} |"
        for s in setting_fields()
    ]
    assert [row for row in rows if row not in readme] == []


def test_secrets_do_not_show_when_settings_are_printed() -> None:
    settings = Settings.load(
        {"SLIPWAY_SECRET_KEY": "geheim", "SLIPWAY_DATABASE_URL": "postgresql://u:geheim@h/d"}
    )
    assert "geheim" not in repr(settings)
