# SPDX-License-Identifier: Apache-2.0
"""The options that describe a boot source, and the fields of the API that they mean."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import click

from webapp.cli.groups import line_for_dash


def source_options(command: Any) -> Any:
    """Add the options to a command."""
    for option in reversed(
        (
            click.option("--name", help="Display name."),
            click.option("--priority", type=int, help="Priority; the highest wins."),
            click.option(
                "--mirror",
                "mirrors",
                multiple=True,
                metavar="URL",
                help="Further address of the same stream; '' removes all.",
            ),
            click.option(
                "--proxy",
                callback=line_for_dash,
                help="Proxy, http://HOST:PORT; - reads it from standard input.",
            ),
            click.option("--direct/--no-direct", default=None, help="Connect without any proxy."),
            click.option("--ca-file", help="CA file on the server."),
            click.option("--client-cert", type=click.File("r"), help="PEM client certificate."),
            click.option("--client-key", type=click.File("r"), help="Its PEM key."),
            click.option("--no-client-cert", is_flag=True, help="Remove the client certificate."),
            click.option(
                "--schedule", help='When to import it, e.g. "6 hours"; "": with the others.'
            ),
            click.option("--keyring", type=click.File("rb"), help="Local keyring file."),
            click.option("--keyring-path", help="Keyring file on the server."),
            click.option("--unsigned", is_flag=True, help="Accept an unsigned source."),
            click.option("--username", help="User name for basic authentication."),
            click.option(
                "--secret-file",
                type=click.Path(exists=True, dir_okay=False, path_type=Path),
                help="File with the password; with the bearer token if there's no --username.",
            ),
            click.option(
                "--secret-in-clear",
                is_flag=True,
                help="Send the password or token over http:// too, unencrypted.",
            ),
            click.option(
                "--confirm",
                "confirmed",
                multiple=True,
                metavar="PRODUCT",
                help="Accept that the mirror's index and documents disagree on PRODUCT.",
            ),
        )
    ):
        command = option(command)
    return command


def body_of(options: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The options that were given, as fields of the API."""
    body = {k: v for k, v in more.items() if v is not None}
    names = {"proxy": "proxy_url", "direct": "is_direct"}
    plain = ("name", "priority", "ca_file", "schedule", *names)
    body |= {names.get(k, k): options[k] for k in plain if options[k] is not None}
    if options["keyring"] is not None:
        body["keyring"] = base64.b64encode(options["keyring"].read()).decode()
    if options["no_client_cert"]:
        body["client_certificate"] = ""
    for name, field in (("client_cert", "client_certificate"), ("client_key", "client_key")):
        if options[name] is not None:
            body[field] = options[name].read()
    if options["keyring_path"]:
        body["keyring_filename"] = options["keyring_path"]
    if options["unsigned"]:
        body["is_unsigned"] = True
    if options["secret_file"] is not None:
        body["auth_secret"] = options["secret_file"].read_text().strip()
        body["auth_kind"] = "basic" if options["username"] else "bearer"
    if options["username"]:
        body["auth_username"] = options["username"]
    if options["mirrors"]:
        body["mirrors"] = [url for url in options["mirrors"] if url]
    if options["confirmed"]:
        body["confirmed_products"] = list(options["confirmed"])
    if options["secret_in_clear"]:
        body["can_auth_in_clear"] = True
    return body
