# SPDX-License-Identifier: Apache-2.0
"""``slipway backup`` and ``slipway restore``, on the machine that Slipway runs on."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from webapp.cli import output
from webapp.cli.context import app_context, loaded_settings
from webapp.cli.groups import Group
from webapp.numbers import counted

_WITH_BYTES = "--with-bytes"


class _CreateCommand(click.Command):
    """``--with-bytes`` without a value, before or after TARGET."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Give the option its value, or click would take the next word for it."""
        args = [f"{_WITH_BYTES}=uploads" if arg == _WITH_BYTES else arg for arg in args]
        return super().parse_args(ctx, args)


@click.group(
    "backup", cls=Group, default="create", subcommand_metavar="DIR|FILE.tar | COMMAND [ARGS]..."
)
def backup_group() -> None:
    """Back up this Slipway while it runs, and verify backups.

    A backup holds the database, the secret key, the settings without their secrets,
    keyrings, CA files and the list of image files. Anyone who can read it can read the passwords
    of boot sources: keep it safe.

    \b
    Examples:
      slipway backup /srv/backups/slipway-$(date +%F).tar
      slipway backup --with-bytes /srv/backups/slipway-$(date +%F).tar
      slipway backup verify /srv/backups/slipway-2026-01-01.tar
    """


@backup_group.command("create", cls=_CreateCommand)
@click.argument("target", type=click.Path(path_type=Path), metavar="DIR|FILE.tar")
@click.option(
    _WITH_BYTES,
    "keep",
    type=click.Choice(["uploads", "all"]),
    help="Include image files: those that no enabled boot source offers, e.g. uploads "
    "(without a value), or all.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def backup_create(context: click.Context, target: Path, keep: str | None, as_json: bool) -> None:
    """Back up to a new folder, or to a file if the name ends in .tar.

    Image files that a boot source offers are usually left out: after a restore the next
    import downloads them. Exit code 1 if a stored file is damaged.

    \b
    Examples:
      slipway backup /srv/backups/monday
      slipway backup create --with-bytes=all /srv/backups/all.tar
    """
    from webapp.services.backups import making

    with app_context(), output.progress("Backing up", 0) as advance:
        made = making.make(target.absolute(), making.Keep(keep or "none"), advance)
    words = (
        f"Backed up to {made.target}: {output.size(made.size)} in {counted(made.files, 'file')}."
    )
    output.result({**asdict(made), "target": str(made.target)}, as_json, words)
    if made.only_here:
        output.line(
            f"Not included: {counted(made.only_here, 'file')} that no boot source offers. "
            f"Add {_WITH_BYTES} to include all files.",
            err=True,
        )
    if made.damaged:
        output.line(
            f"{len(made.damaged)} stored files are damaged and aren't in it. "
            "Next: `slipway doctor` explains how to replace them.",
            err=True,
        )
        context.exit(1)


@backup_group.command("verify")
@click.argument("backup", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def backup_verify(context: click.Context, backup: Path, as_json: bool) -> None:
    """Read every byte of BACKUP and compare it with its manifest.

    Needs neither settings nor a database. Exit code 1 if anything is damaged or missing.

    \b
    Example:
      slipway backup verify /srv/backups/slipway-2026-01-01.tar
    """
    from webapp.services.backups import reading

    with reading.opened(backup) as found:
        described = found.manifest
        with output.progress("Verifying", described.size) as advance:
            problems = reading.damage(found, advance)
    if as_json:
        output.print_json(
            {
                "created_at": described.created_at,
                "version": described.version,
                "with_bytes": described.with_bytes,
                "files": len(described.members),
                "size": described.size,
                "problems": [problem.as_dict() for problem in problems],
            }
        )
    elif not problems:
        output.line(
            f"Complete: {output.size(described.size)} in {len(described.members)} files, made "
            f"{output.time(described.created_at)} by Slipway {described.version}."
        )
    else:
        for problem in problems:
            output.line(str(problem), err=True)
    if problems:
        context.exit(1)


@click.command("restore")
@click.argument("backup", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def restore_command(backup: Path, as_json: bool) -> None:
    """Restore BACKUP into an empty data folder. Run it again if it was killed.

    SLIPWAY_DATA_DIR names the folder. With PostgreSQL, SLIPWAY_DATABASE_URL must name an
    empty database. Start Slipway afterwards: the next import downloads the image files
    that aren't in the backup.

    \b
    Examples:
      SLIPWAY_DATA_DIR=/srv/slipway slipway restore /srv/backups/slipway-2026-01-01.tar
    """
    from webapp.services.backups import reading, restoring

    settings = loaded_settings()
    with reading.opened(backup) as found:
        total = found.manifest.size
    with output.progress("Restoring", total) as advance:
        done = restoring.restore(backup, settings, advance)
    when = output.time(done.created_at)
    words = [f"Restored the backup of {when} into {settings.data_dir}."]
    if done.missing:
        words.append(f"{done.missing} image files are missing; the next import downloads them.")
    if done.restarted_uploads:
        words.append(f"{done.restarted_uploads} unfinished uploads start over.")
    if done.other_settings:
        words.append(f"Set differently there: {', '.join(done.other_settings)}.")
    output.result(asdict(done), as_json, " ".join(words))
