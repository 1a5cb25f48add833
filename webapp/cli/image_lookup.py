# SPDX-License-Identifier: Apache-2.0
"""Find the images that a command names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import click

from webapp.cli.client import Api
from webapp.errors import Problem


def split(name: str) -> tuple[str, str]:
    """Operating system and release of OS/RELEASE. Raises UsageError."""
    os, _, release = name.partition("/")
    if not release:
        raise click.UsageError(f"{name}: expected OS/RELEASE, e.g. ubuntu/noble")
    return os, release


def in_url(*parts: str) -> str:
    """Parts of a path, which may have any character."""
    return "/".join(quote(part, safe="") for part in parts)


def several(name: str, arches: Iterable[str]) -> click.UsageError:
    """An image of which one architecture has to be chosen."""
    found = ", ".join(sorted(arches))
    return click.UsageError(f"{name} has several architectures; choose one with --arch: {found}")


def resources(api: Api, name: str, arch: str) -> list[dict[str, Any]]:
    name = name.removeprefix("custom/")
    found = [
        resource
        for resource in api.items("/resources", name=name)
        if arch in ("", resource["architecture"], resource["architecture"].partition("/")[0])
    ]
    if not found:
        raise Problem(
            f"There's no image {name}{' for ' + arch if arch else ''}.",
            next_step="`slipway image list` lists all images.",
        )
    return found


def wanted(api: Api, name: str, arch: str) -> str:
    """The address of an image that is stored or selected; arch may be left out if it has one."""
    if "/" in arch:
        raise click.UsageError("--arch takes an architecture without a kernel, e.g. amd64.")
    found = [
        image
        for image in api.items("/images")
        if image["name"] == name and arch in ("", image["arch"])
    ]
    if len(found) > 1:
        raise several(name, (image["arch"] for image in found))
    if not (found or arch):
        raise Problem(
            f"There's no stored or selected image {name}.",
            next_step="`slipway image available` lists what boot sources offer.",
        )
    os, _, release = name.partition("/")
    return f"/images/{in_url(os, release, found[0]['arch'] if found else arch)}"


def one(api: Api, name: str, arch: str) -> dict[str, Any]:
    found = resources(api, name, arch)
    if len(found) > 1:
        raise several(name, (r["architecture"] for r in found))
    return found[0]


def path_of(api: Api, name: str, arch: str) -> tuple[str, dict[str, str]]:
    """The address of an image, and which kernel of it is meant.

    arch: an architecture, or one with a kernel (amd64/hwe-24.04). It may be left out
    where the image has only one.
    """
    found = {r["architecture"] for r in resources(api, name, arch) if r["version"]}
    arches = sorted({architecture.partition("/")[0] for architecture in found})
    if not arches:
        raise Problem(
            f"{name} isn't downloaded yet.", next_step="`slipway import start` downloads it."
        )
    if len(arches) > 1:
        raise several(name, arches)
    os, slash, release = name.removeprefix("custom/").partition("/")
    if not slash:
        os, release = "custom", os
    return f"/images/{in_url(os, release, arches[0])}", kernel_of(arch)


def kernel_of(arch: str) -> dict[str, str]:
    """The kernel of an architecture such as amd64/hwe-24.04, as calls name it, if there's one."""
    kernel = arch.partition("/")[2]
    return {"kernel": kernel} if kernel else {}
