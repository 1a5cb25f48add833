# SPDX-License-Identifier: Apache-2.0
"""``slipway``: the table of commands, and how they end.

Exit codes: 0 done; 1 failed, and stderr says why in one sentence; 2 usage error;
130 stopped with Ctrl-C. Each command is imported when it runs: this module imports
nothing but click and what prints.
"""

from __future__ import annotations

import sys

import click

from webapp.cli import output
from webapp.cli.groups import Group, Row, Table
from webapp.errors import InvalidFields, Problem

STOPPED = 130  # 128 + SIGINT, as shells have it

COMMANDS = Table(
    (
        Row("run", "processes:run", "Start Slipway and keep it running until Ctrl-C"),
        Row("web", "processes:web", "Run the pages and the REST API only (SLIPWAY_WEB_BIND)"),
        Row("rack", "racks:rack_group",
            "Run only the server that machines boot from, or manage racks", ("racks",)),
        Row("worker", "processes:worker", "Run only the worker, which imports and cleans up"),
        Row("status", "overview:status", "Show what is stored, running and wrong"),
        Row("doctor", "overview:doctor", "Run health checks and list the next steps"),
        Row("source", "sources:source_group", "Manage boot sources", ("sources",)),
        Row("image", "images:image_group", "List, select, delete and roll back images",
            ("images",)),
        Row("rule", "rules:rule_group", "Select images by rule, at each refresh of a boot source",
            ("rules",)),
        Row("import", "imports:import_group", "Preview, start, watch, pause and stop imports",
            ("imports",)),
        Row("upload", "uploads:upload_group", "Upload custom images", ("uploads",)),
        Row("inspect", "inspection:inspect_command", "Inspect FILE before you upload it"),
        Row("esxi", "esxi:esxi_group", "Check the network and storage of an ESXi host"),
        Row("boot", "boot:boot_group", "Choose what machines boot from the network"),
        Row("mirror", "mirror:mirror_group", "Publish your images, and copy streams into folders",
            ("mirrors",)),
        Row("user", "accounts:user_group", "Manage users", ("users",)),
        Row("key", "keys:key_group", "Manage API keys for MAAS clients", ("keys",)),
        Row("token", "keys:token_group", "Manage API tokens", ("tokens",)),
        Row("event", "system:event_group", "List and follow events", ("events",)),
        Row("setting", "system:setting_group", "List and change settings", ("settings",)),
        Row("store", "storage:store_group", "Show what is stored, and check it", ("stores",)),
        Row("backup", "backups:backup_group",
            "Back up this Slipway while it runs, and verify backups", ("backups",)),
        Row("restore", "backups:restore_command", "Restore BACKUP into an empty data folder"),
        Row("verify", "trust:verify", "Verify the signature of FILE and print what was signed"),
        Row("db", "database:database_group", "Migrate the database"),
        Row("completion", "system:completion", "Print the shell completion script"),
        Row("admin", "admin:admin_group", ""),
    )
)  # fmt: skip

# What a person types for a field of the API; the message alone is enough for others.
FIELDS = {
    "architecture": "--arch",
    "arch": "--arch",
    "after_rack_id": "--after",
    "arches": "--arch",
    "can_auth_in_clear": "--secret-in-clear",
    "auth_secret": "--secret-file",
    "auth_username": "--username",
    "base_image": "--base-image",
    "ca_file": "--ca-file",
    "client_certificate": "--client-cert",
    "client_key": "--client-key",
    "filetype": "--filetype",
    "hours": "--hours",
    "images": "--image",
    "kernels": "--kernel",
    "keyring": "--keyring",
    "keyring_filename": "--keyring-path",
    "max_bytes": "--max-size",
    "mode": "--mode",
    "kernel": "--kernel",
    "mac": "MAC",
    "machine": "MACHINE",
    "name": "Name",
    "os": "OS",
    "pattern": "--pattern",
    "count": "--count",
    "source_id": "--source",
    "parameters": "--parameters",
    "password": "Password",
    "prefix": "--prefix",
    "priority": "--priority",
    "proxy_url": "--proxy",
    "rate": "--rate",
    "release": "Release",
    "role": "--role",
    "sha256": "--sha256",
    "title": "--title",
    "is_unsigned": "--unsigned",
    "upstreams": "--upstream",
    "url": "URL",
    "username": "User name",
    "uses": "--uses",
    "value": "Value",
}
# Messages of the API that name its fields, as they're said on the command line.
WORDS = {
    "One of keyring_data or keyring_filename must be specified.": (
        "Give a keyring with --keyring or --keyring-path, or accept a source that no one signs "
        "with --unsigned."
    ),
    "Only one of keyring_filename or keyring_data can be specified.": (
        "Use either --keyring or --keyring-path."
    ),
}


@click.group(
    cls=Group,
    commands=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 failed (stderr says why), 2 usage error, 130 stopped with "
    "Ctrl-C. Settings are SLIPWAY_* variables; `slipway setting` lists them.",
)
@click.version_option(package_name="slipway")
def cli() -> None:
    """Slipway: the image service of a bare-metal lab.

    Commands work on this machine. With --url (or SLIPWAY_URL) and a token, most of
    them work on another one.

    \b
    First steps:
      slipway run                          start everything
      slipway user create ada              create a user
      slipway image available              list what you can select
      slipway image select ubuntu/noble --arch amd64 --import
      slipway status                       show what is stored, running and wrong
      slipway doctor                       show what is wrong, and how to fix it
    """


def main() -> None:
    """Run the command line; whatever goes wrong is a sentence, never a traceback."""
    output.accept_any_text()
    sys.exit(output.finish(_run()))


def _run() -> int:
    try:
        return int(cli.main(prog_name="slipway", standalone_mode=False) or 0)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except click.Abort as aborted:
        output.error(str(aborted) or "stopped.")
        return STOPPED
    except click.ClickException as error:
        output.usage_error(error)
        return error.exit_code
    except Exception as error:
        problem = error if isinstance(error, Problem) else _database_problem(error)
        if problem is not None:
            output.error(sentence(problem))
        elif not isinstance(error, OSError) or output.is_writable():
            raise
        return 1


def _database_problem(error: Exception) -> Problem | None:
    if "sqlalchemy" not in sys.modules:
        return None
    from webapp.database import as_problem

    return as_problem(error)


def sentence(problem: Problem) -> str:
    """A problem as one line; fields have the names that a person typed."""
    if not isinstance(problem, InvalidFields):
        return str(problem)
    return " ".join(
        f"{FIELDS[name]}: {message}" if name in FIELDS else WORDS.get(message, message)
        for name, messages in problem.fields.items()
        for message in messages
    )


if __name__ == "__main__":
    main()
