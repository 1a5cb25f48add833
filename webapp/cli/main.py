# SPDX-License-Identifier: Apache-2.0
"""``slipway``: the command line. Thin: parse, call a service, print.

Exit codes: 0 done; 1 it did not work, and stderr says why in one sentence;
2 the command was typed wrongly; 130 it was stopped with Ctrl-C.
"""

from __future__ import annotations

import sys

import click

from webapp.cli.admin import admin
from webapp.cli.backups import backup_group, restore_command
from webapp.cli.context import loaded_settings
from webapp.cli.esxi import esxi_group
from webapp.cli.images import images_group
from webapp.cli.imports import import_group
from webapp.cli.inspect import inspect_command
from webapp.cli.mirror import mirror_group
from webapp.cli.sources import source_group
from webapp.cli.status import status
from webapp.cli.system import doctor, events, settings_group
from webapp.cli.uploads import upload, uploads_group
from webapp.errors import InvalidFields, Problem

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

    Commands work on this machine; with --url (SLIPWAY_URL) and a token most of
    them work on another one.

    \b
    First steps:
      slipway run                          start everything
      slipway admin create ada             make a user
      slipway images available             what can be selected
      slipway images select ubuntu/noble --arch amd64 --import
      slipway status                       what is stored, running and wrong
      slipway doctor                       what is wrong, and what to do
    """


for command in (
    source_group,
    images_group,
    import_group,
    upload,
    uploads_group,
    inspect_command,
    esxi_group,
    mirror_group,
    admin,
    status,
    events,
    settings_group,
    backup_group,
    restore_command,
    doctor,
):
    cli.add_command(command)


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
    from webapp.server.supervisor import supervise

    sys.exit(supervise(loaded_settings()))


@cli.command()
def web() -> None:
    """Run the pages and the REST API only (SLIPWAY_WEB_BIND)."""
    from webapp.server import planes

    planes.run_plane("web", loaded_settings())


@cli.command()
def rack() -> None:
    """Run only what machines fetch from (SLIPWAY_RACK_BIND)."""
    from webapp.server import planes

    planes.run_plane("rack", loaded_settings())


@cli.command()
def worker() -> None:
    """Run only the worker, which imports and cleans up."""
    from webapp import create_app
    from webapp.server import planes
    from webapp.server import worker as jobs

    settings = loaded_settings().prepared()
    planes.check(settings)
    sys.exit(jobs.run_worker(create_app(settings, plane="none")))


# -- settings and database


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
    from webapp.services.sources.first_start import ensure_defaults

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
    from webapp.trust.verify import verify_file

    verified = verify_file(file, keyring, detached)
    sys.stdout.buffer.write(verified.payload)


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what completes commands and options in a shell.

    \b
    Examples:
      slipway completion bash > /etc/bash_completion.d/slipway
      slipway completion fish > ~/.config/fish/completions/slipway.fish
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(found(cli, {}, "slipway", "_SLIPWAY_COMPLETE").source())


if __name__ == "__main__":
    main()
