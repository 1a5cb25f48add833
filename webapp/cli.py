# SPDX-License-Identifier: Apache-2.0
"""``slipway``: the command line. Thin: parse, call a service, print.

Exit codes: 0 done, 1 it did not work (the reason is one sentence on stderr),
2 the command was typed wrongly.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import IO

import click

from webapp.config import Settings, table, unknown_names
from webapp.errors import Problem


def main() -> None:
    """Run the command line; a Problem ends it with a sentence, never with a traceback."""
    try:
        cli(prog_name="slipway")
    except Problem as problem:
        click.echo(f"slipway: {problem}", err=True)
        sys.exit(1)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="slipway")
def cli() -> None:
    """Slipway: the image service of a bare-metal lab."""


def loaded_settings() -> Settings:
    """The settings of this process; names that mean nothing are pointed out."""
    for name in unknown_names(os.environ):
        click.echo(f"slipway: there is no setting {name}; it is ignored", err=True)
    return Settings.load(os.environ)


@contextmanager
def app_context() -> Iterator[Settings]:
    """An app that answers nobody, with its database checked, for one command."""
    from webapp import create_app, database
    from webapp.extensions import db

    settings = loaded_settings()
    app = create_app(settings, plane="none")
    with app.app_context():
        database.check_revision(db.engine)
        yield settings


# -- processes


@cli.command()
def run() -> None:
    """Start web, rack and worker, and keep them running until Ctrl-C."""
    from webapp import serve

    sys.exit(serve.run_all(loaded_settings()))


@cli.command()
def web() -> None:
    """Run the pages and the REST API only."""
    from webapp import serve

    serve.run_plane("web", loaded_settings())


@cli.command()
def rack() -> None:
    """Run only what machines fetch from."""
    from webapp import serve

    serve.run_plane("rack", loaded_settings())


@cli.command()
def worker() -> None:
    """Run only the worker, which imports and cleans up."""
    from webapp import create_app, jobs

    jobs.run_worker(create_app(loaded_settings(), plane="none"))


# -- settings and database


@cli.command("settings")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def show_settings(as_json: bool) -> None:
    """Print every setting, its value and where it came from; secrets are masked."""
    rows = table(loaded_settings())
    if as_json:
        keys = ("name", "value", "origin", "help")
        click.echo(json.dumps([dict(zip(keys, row, strict=True)) for row in rows], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    grid = Table("Setting", "Value", "From", "What it is", box=None, pad_edge=False)
    for row in rows:
        grid.add_row(*row)
    Console(soft_wrap=not sys.stdout.isatty()).print(grid, markup=False)


@cli.group("db")
def database_group() -> None:
    """The region's database."""


@database_group.command("upgrade")
@click.argument("revision", default="head")
def db_upgrade(revision: str) -> None:
    """Bring the database to its newest shape, making it when there is none."""
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
    """Take the database back to an older shape."""
    from webapp import create_app, database
    from webapp.extensions import db

    with create_app(loaded_settings(), plane="none").app_context():
        database.downgrade(db.engine, revision)


# -- trust


@cli.command()
@click.argument("file", type=click.Path())
@click.option("--keyring", required=True, type=click.Path(), help="Public keys that may sign.")
@click.option("--detached", type=click.Path(), help="Signature file, when it is not in FILE.")
def verify(file: str, keyring: str, detached: str | None) -> None:
    """Verify a signed FILE and print what was signed, byte for byte.

    Uses the very code that an import uses. Exit 1 and one reason on stderr
    when the file cannot be trusted; then nothing is printed.
    """
    from webapp.streams.verify import verify_file

    verified = verify_file(file, keyring, detached)
    click.get_binary_stream("stdout").write(verified.payload)


# -- accounts


@cli.group()
def admin() -> None:
    """Users and their keys."""


@admin.command("create")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["administrator", "operator", "viewer"]),
    default="administrator",
    show_default=True,
)
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
def admin_create(name: str, role: str, password_stdin: bool) -> None:
    """Create a user."""
    from webapp.models import Role
    from webapp.services import accounts

    with app_context():
        user = accounts.create_user(name, _password(password_stdin), Role(role))
        click.echo(f"Created {user.role} {user.username}.")


def _password(from_stdin: bool) -> str:
    if from_stdin:
        stream: IO[str] = click.get_text_stream("stdin")
        return stream.readline().rstrip("\r\n")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))


@admin.command("apikey")
@click.argument("name")
@click.option("--label", default="command line", show_default=True, help="What the key is for.")
def admin_apikey(name: str, label: str) -> None:
    """Make an API key for a user and print it: consumer:token:secret, shown this once."""
    from webapp.services import accounts

    with app_context():
        click.echo(accounts.create_api_key(accounts.user_named(name), label))


# -- status


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def status(as_json: bool) -> None:
    """Tell what is stored, what is running and what is wrong."""
    from webapp.services.status import overview

    with app_context():
        report = overview()
    if as_json:
        click.echo(json.dumps(asdict(report), indent=2, default=str))
        return
    from webapp.cli_text import print_status

    print_status(report)


if __name__ == "__main__":
    main()
