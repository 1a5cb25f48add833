# SPDX-License-Identifier: Apache-2.0
"""``slipway verify``: check a signed file as an import does."""

from __future__ import annotations

import click

from webapp.cli import output


@click.command()
@click.argument("file", type=click.Path())
@click.option("--keyring", required=True, metavar="FILE", help="Public keys to trust.")
@click.option("--detached", metavar="FILE", help="Signature file, if FILE doesn't hold it.")
def verify(file: str, keyring: str, detached: str | None) -> None:
    """Verify the signature of FILE and print what was signed.

    The output is exact, byte for byte. If FILE can't be trusted, nothing is printed,
    stderr has the reason and the exit code is 1. Imports use the same check.

    \b
    Examples:
      slipway verify index.sjson --keyring ubuntu-cloudimage-keyring.gpg
      slipway verify index.json --detached index.json.gpg --keyring key.asc > trusted.json
    """
    from webapp.trust.verify import verify_file

    output.print_bytes(verify_file(file, keyring, detached).payload)
