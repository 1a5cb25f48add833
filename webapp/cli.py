# SPDX-License-Identifier: Apache-2.0
"""``slipway``: the command line. Thin: parse, call a service, print.

Exit codes: 0 done; 1 it did not work, and stderr says why in one sentence;
2 the command was typed wrongly; 130 it was stopped with Ctrl-C.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import datetime

import click

from webapp.admin_cli import admin
from webapp.cli_context import app_context, loaded_settings
from webapp.config import table
from webapp.errors import InvalidFields, Problem
from webapp.esxi_cli import esxi_group
from webapp.mirror_cli import mirror_group

STOPPED = 130  # 128 + SIGINT, as shells have it


def main() -> None:
    """Run the command line; whatever goes wrong is a sentence, never a traceback."""
    try:
        sys.exit(cli.main(prog_name="slipway", standalone_mode=False))
    except click.Abort:
        click.echo("slipway: stopped.", err=True)
        sys.exit(STOPPED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Exception as error:
        problem = error if isinstance(error, Problem) else _database_problem(error)
        if problem is None:
            raise
        click.echo(f"slipway: {_sentence(problem)}", err=True)
        sys.exit(1)


def _database_problem(error: Exception) -> Problem | None:
    from webapp.database import as_problem  # takes half a second, which most errors need not wait

    return as_problem(error)


def _sentence(problem: Problem) -> str:
    if isinstance(problem, InvalidFields):
        # "username: There is …" says all; the field is what was typed on the line.
        return " ".join(
            message if name == "__all__" else f"{name}: {message}"
            for name, messages in problem.fields.items()
            for message in messages
        )
    return str(problem)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 it did not work (stderr says why), 2 typed wrongly, "
    "130 stopped with Ctrl-C. Settings are SLIPWAY_* variables; `slipway settings` lists them.",
)
@click.version_option(package_name="slipway")
def cli() -> None:
    """Slipway: the image service of a bare-metal lab.

    \b
    First steps:
      slipway run                          start everything
      slipway admin create ada             make a user
      slipway admin apikey ada             make a key for scripts
      slipway status                       what is stored, running and wrong
    """


cli.add_command(esxi_group)
cli.add_command(mirror_group)
cli.add_command(admin)


# -- processes


@cli.command()
def run() -> None:
    """Start web, rack and worker, and keep them running until Ctrl-C.

    Brings the database to its newest shape first.

    \b
    Examples:
      slipway run
      SLIPWAY_DATA_DIR=/srv/slipway SLIPWAY_WEB_BIND=127.0.0.1:5240 slipway run
    """
    from webapp import serve

    sys.exit(serve.run_all(loaded_settings()))


@cli.command()
def web() -> None:
    """Run the pages and the REST API only (SLIPWAY_WEB_BIND)."""
    from webapp import serve

    serve.run_plane("web", loaded_settings())


@cli.command()
def rack() -> None:
    """Run only what machines fetch from (SLIPWAY_RACK_BIND)."""
    from webapp import serve

    serve.run_plane("rack", loaded_settings())


@cli.command()
def worker() -> None:
    """Run only the worker, which imports and cleans up."""
    from webapp import create_app, jobs, serve

    settings = loaded_settings().prepared()
    serve.check(settings)
    sys.exit(jobs.run_worker(create_app(settings, plane="none")))


# -- settings and database


@cli.command("settings")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def show_settings(as_json: bool) -> None:
    """Print every setting, its value and where it came from; secrets are masked.

    \b
    Examples:
      slipway settings
      slipway settings --json | jq -r '.[] | select(.origin != "default") | .name'
    """
    rows = table(loaded_settings())
    if as_json:
        keys = ("name", "value", "origin", "help")
        click.echo(json.dumps([dict(zip(keys, row, strict=True)) for row in rows], indent=2))
        return
    from webapp.cli_text import print_settings

    print_settings(rows)


@cli.group("db")
def database_group() -> None:
    """The region's database."""


@database_group.command("upgrade")
@click.argument("revision", default="head")
def db_upgrade(revision: str) -> None:
    """Bring the database to its newest shape, making it when there is none.

    \b
    Examples:
      slipway db upgrade
      SLIPWAY_DATABASE_URL=postgresql://slipway@db/slipway slipway db upgrade
    """
    from webapp import create_app, database
    from webapp.extensions import db
    from webapp.services.first_start import ensure_defaults

    settings = loaded_settings()
    with create_app(settings, plane="none").app_context():
        database.upgrade(db.engine, revision)
        if revision == "head":
            ensure_defaults(settings)


@database_group.command("downgrade")
@click.argument("revision")
@click.confirmation_option(prompt="Going back may drop columns and their data. Go on?")
def db_downgrade(revision: str) -> None:
    """Take the database back to an older shape.

    \b
    Example:
      slipway db downgrade -1 --yes
    """
    from webapp import create_app, database
    from webapp.extensions import db

    with create_app(loaded_settings(), plane="none").app_context():
        database.downgrade(db.engine, revision)


# -- trust


@cli.command()
@click.argument("file", type=click.Path())
@click.option("--keyring", required=True, metavar="FILE", help="Public keys that may sign.")
@click.option("--detached", metavar="FILE", help="Signature file, when it is not in FILE.")
def verify(file: str, keyring: str, detached: str | None) -> None:
    """Verify a signed FILE and print what was signed, byte for byte.

    Uses the very code that an import uses. Exit code 1 and one reason on stderr
    when the file cannot be trusted; then nothing is printed.

    \b
    Examples:
      slipway verify index.sjson --keyring ubuntu-cloudimage-keyring.gpg
      slipway verify index.json --detached index.json.gpg --keyring key.asc > trusted.json
    """
    from webapp.streams.verify import verify_file

    verified = verify_file(file, keyring, detached)
    sys.stdout.buffer.write(verified.payload)


# -- status


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def status(as_json: bool) -> None:
    """Tell what is stored, what is running and what is wrong.

    \b
    Examples:
      slipway status
      slipway status --json | jq -r '.images[] | [.name, .arch, .stored_version] | @tsv'
    """
    from webapp.services.status import overview

    with app_context():
        report = overview()
    if as_json:
        click.echo(json.dumps(asdict(report), indent=2, default=_json_value))
        return
    from webapp.cli_text import print_status

    print_status(report)


def _json_value(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


if __name__ == "__main__":
    main()
