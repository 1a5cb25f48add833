# SPDX-License-Identifier: Apache-2.0
"""The commands of ``slipway image`` for what was removed: see it, restore it, give it up."""

from __future__ import annotations

from typing import Any

import click

from webapp.cli import image_lookup as lookup
from webapp.cli import output
from webapp.cli.client import Api, with_api
from webapp.errors import Problem


@click.command("bin")
@click.option("--empty", "empties", is_flag=True, help="Delete everything in the bin for good.")
@click.option("--discard", "name", default="", metavar="NAME", help="Delete one image for good.")
@click.option("--arch", default="", help="Architecture of that image.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@with_api
def show_bin(empties: bool, name: str, arch: str, yes: bool, api: Api, as_json: bool) -> None:
    """Show removed images; restore them, or delete them for good.

    \b
    Examples:
      slipway image bin
      slipway image bin --empty
      slipway image bin --discard ubuntu/focal --arch amd64
    """
    found = api.get("/bin")
    if empties or name:
        _empty(api, _one(found, name, arch) if name else None, found, yes, as_json)
        return
    if as_json:
        output.print_json(found)
        return
    output.print_table(
        ("Image", "Arch", "Version", "Held", "Goes in", "Why"),
        [
            (i["name"], i["arch"], i["version"], output.size(i["bytes"]), _left(i), i["why"])
            for i in found["images"]
        ],
        empty="The bin is empty.",
    )
    if found["images"]:
        output.line(f"Held: {output.size(found['bytes'])}")


@click.command("restore")
@click.argument("name")
@click.option("--arch", default="", help="Architecture, e.g. amd64 or amd64/hwe-24.04.")
@with_api
def restore(name: str, arch: str, api: Api, as_json: bool) -> None:
    """Restore a removed image from the bin, without a download.

    If it was deselected, it's selected again.

    \b
    Examples:
      slipway image restore ubuntu/noble --arch amd64
    """
    image = _one(api.get("/bin"), name, arch)
    done = api.call("POST", f"{_path(image)}/restore", lookup.kernel_of(arch))
    words = f"Restored {done['name']} {done['arch']}. Nothing was downloaded."
    if done["is_selected"]:
        words += " It's selected again."
    output.result(done, as_json, f"{words} {done['warning']}".rstrip())


COMMANDS = (show_bin, restore)


def _empty(
    api: Api, image: dict[str, Any] | None, found: dict[str, Any], yes: bool, as_json: bool
) -> None:
    what = f"{image['name']} {image['arch']}" if image else "everything in the bin"
    held = output.size((image or found)["bytes"])
    if not yes and found["images"]:
        output.confirm(f"Delete {what} for good? This frees {held} and can't be undone.")
    path = f"{_path(image)}/discard" if image else "/bin/empty"
    done = api.call("POST", path)
    freed = output.size(done["bytes"])
    output.result(done, as_json, f"Deleted {what} for good. {freed} will be freed shortly.")


def _one(found: dict[str, Any], name: str, arch: str) -> dict[str, Any]:
    wanted = arch.partition("/")[0]
    name = name.removeprefix("custom/")
    images: list[dict[str, Any]]
    images = [i for i in found["images"] if i["name"] == name and wanted in ("", i["arch"])]
    if not images:
        raise Problem(
            f"{name}{' for ' + arch if arch else ''} isn't in the bin.",
            next_step="`slipway image bin` shows what is.",
        )
    if len(images) > 1:
        raise lookup.several(name, (image["arch"] for image in images))
    return images[0]


def _path(image: dict[str, Any]) -> str:
    return f"/bin/{lookup.in_url(image['os'], image['release'], image['arch'])}"


def _left(image: dict[str, Any]) -> str:
    hours, minutes = divmod(image["left_s"] // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
