# SPDX-License-Identifier: Apache-2.0
"""``maas/``: image settings that scripts read and change (rule: image-settings)."""

from __future__ import annotations

from flask import Response

from webapp.api.v2.answers import as_json, text
from webapp.api.v2.dispatch import API, Action, ActionCall, Resource
from webapp.errors import InvalidFields
from webapp.services.accounts.rights import Right
from webapp.services.system import live_settings

_NAMES = ", ".join(live_settings.MAAS)


def get_config(call: ActionCall) -> Response:
    """Read a setting

    :param name: Required. One of boot_images_auto_import, http_proxy, enable_http_proxy,
        boot_images_no_proxy.
    :type name: String
    """
    value = live_settings.read(_name(call))
    return as_json(None if value == "" else value)


def set_config(call: ActionCall) -> Response:
    """Change a setting

    :param name: Required. One of boot_images_auto_import, http_proxy, enable_http_proxy,
        boot_images_no_proxy.
    :type name: String

    :param value: The new value; empty to unset it.
    :type value: String
    """
    live_settings.change(_name(call), call.arguments.text("value"), call.actor)
    return text("OK")


def _name(call: ActionCall) -> str:
    name = call.arguments.text("name")
    if not name:
        raise InvalidFields({"name": [f"This field is required. Settings: {_NAMES}."]})
    if name not in live_settings.MAAS:
        raise InvalidFields(
            {"name": [f"{name[:60]!r} isn't an image setting. Settings: {_NAMES}."]}
        )
    return name


RESOURCES = (
    Resource(
        "MaasHandler",
        f"{API}/maas/",
        "The settings about images.",
        (
            Action("get_config", "GET", get_config, Right.MANAGE, op="get_config"),
            Action("set_config", "POST", set_config, Right.MANAGE, op="set_config"),
        ),
    ),
)
