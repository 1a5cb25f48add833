# SPDX-License-Identifier: Apache-2.0
"""Image settings that can change while Slipway runs.

Those that MAAS has as well bear MAAS's names, and scripts know them (rule: image-settings).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from webapp import numbers
from webapp.errors import InvalidFields
from webapp.extensions import db
from webapp.models import Setting
from webapp.services.system import events, exemptions, proxies, rates, schedules, secrets, windows
from webapp.services.system.wake import wake

AUTO_IMPORT = "boot_images_auto_import"
RELEASE_NOTICES = "release_notifications"
# What bootstrap scripts always set. They're kept for those who read them back.
COMMISSIONING = "commissioning_distro_series"
DEFAULT_OS, DEFAULT_RELEASE = "default_osystem", "default_distro_series"
DISTRO_DEFAULTS = {
    COMMISSIONING: ("Ubuntu release that MAAS commissions machines with", ""),
    DEFAULT_OS: ("Operating system that MAAS deploys by default", "ubuntu"),
    DEFAULT_RELEASE: ("Release that MAAS deploys by default", ""),
    "default_min_hwe_kernel": ("Oldest kernel that MAAS deploys by default, e.g. ga-24.04", ""),
}
EXEMPT_HOSTS = "import_no_proxy"
HTTP_PROXY, USES_PROXY, NO_PROXY = "http_proxy", "enable_http_proxy", "boot_images_no_proxy"
PROXY_LOGIN = "http_proxy_login"  # encrypted; http_proxy itself is kept without its password
OF_THE_PROXY = (HTTP_PROXY, USES_PROXY, NO_PROXY, PROXY_LOGIN, EXEMPT_HOSTS)
DAY_RATE, NIGHT_RATE, NIGHT_HOURS = "import_rate", "import_night_rate", "import_night_hours"
TIME_ZONE, WINDOWS = "import_time_zone", "import_windows"
SCHEDULE = "import_schedule"
SOAK_DAYS, MAX_SOAK_DAYS = "import_soak_days", 365
SOAK_RANGE = f"Enter a whole number from 0 to {MAX_SOAK_DAYS}."

_WORD = re.compile(r"[A-Za-z0-9._+-]{0,100}", re.ASCII)
_WORDS = {"true": True, "yes": True, "on": True, "1": True}
_WORDS |= {"false": False, "no": False, "off": False, "0": False, "": False}


def _switch(value: str) -> bool:
    if value.strip().lower() not in _WORDS:
        raise InvalidFields({"value": [f"Enter true or false, not {value[:60]!r}."]})
    return _WORDS[value.strip().lower()]


def _proxy(value: str) -> str:
    value = value.strip()
    if value and not proxies.is_proxy(value):
        raise InvalidFields({"value": ["Enter the proxy as http://host:port/."]})
    return value


def _word(value: str) -> str:
    value = value.strip()
    if not _WORD.fullmatch(value):
        raise InvalidFields({"value": ["Enter a name, e.g. noble: letters, digits and . _ + -"]})
    return value


def _text(parse: Callable[[str], object]) -> Callable[[str], str]:
    """Keep a text as it was written, if ``parse`` understands it."""

    def check(value: str) -> str:
        value = value.strip()
        try:
            parse(value)
        except ValueError as error:
            raise InvalidFields({"value": [f"{error}."]}) from None
        return value

    return check


def _days(value: str) -> str:
    days = numbers.whole(value.strip())
    if days is None or days > MAX_SOAK_DAYS:
        raise InvalidFields({"value": [SOAK_RANGE]})
    return str(days)


def _zone(value: str) -> str:
    return _text(windows.parse_zone)(value.strip() or "UTC")


@dataclass(frozen=True)
class Known:
    """A setting: what it does, its default, and how text becomes one."""

    help: str
    default: bool | str
    parse: Callable[[str], bool | str]


MAAS: dict[str, Known] = {
    AUTO_IMPORT: Known("Import the selected images on schedule", True, _switch),
    HTTP_PROXY: Known("Proxy for boot sources without their own", "", _proxy),
    USES_PROXY: Known("Use http_proxy", True, _switch),
    NO_PROXY: Known("Connect to boot sources directly, ignoring http_proxy", False, _switch),
    RELEASE_NOTICES: Known("Show new releases of MAAS that publishers announce", True, _switch),
    **{name: Known(help, value, _word) for name, (help, value) in DISTRO_DEFAULTS.items()},
}
KNOWN: dict[str, Known] = MAAS | {
    EXEMPT_HOSTS: Known(
        "Hosts reached without http_proxy, e.g. .lab, 10.0.0.0/8", "", _text(exemptions.parse)
    ),
    DAY_RATE: Known("Bytes/s for all downloads, e.g. 5 MB/s; 0: no limit", "0", _text(rates.parse)),
    NIGHT_RATE: Known("The same at night; empty: as by day", "", _text(rates.parse)),
    NIGHT_HOURS: Known("Night, e.g. 22:00-06:00", "22:00-06:00", _text(windows.parse)),
    SCHEDULE: Known(
        "When to import by itself, e.g. 6 hours or 0 3 * * *; empty: SLIPWAY_IMPORT_INTERVAL",
        "",
        _text(schedules.parse),
    ),
    WINDOWS: Known(
        "When automatic imports may run, e.g. 22:00-06:00; empty: always", "", _text(windows.parse)
    ),
    SOAK_DAYS: Known("Import only versions at least this many days old; 0: at once", "0", _days),
    TIME_ZONE: Known("Time zone of hours and schedules, e.g. Europe/Berlin", "UTC", _zone),
}


def read(name: str) -> bool | str:
    """The value of one setting. Raises InvalidFields for a name that means nothing."""
    return read_all()[_checked(name)]


def read_all() -> dict[str, bool | str]:
    """Every setting with its value, in one query; http_proxy without its password."""
    kept = {
        row.key: row.value
        for row in db.session.scalars(select(Setting).where(Setting.key.in_(KNOWN)))
    }
    return {name: _typed(known, kept.get(name)) for name, known in KNOWN.items()}


def change(name: str, value: str, actor: str) -> None:
    """Set one; what already runs continues as it began. Raises InvalidFields."""
    try:
        change_all({name: value}, actor)
    except InvalidFields as problem:
        if name in problem.fields:
            raise InvalidFields({"value": problem.fields[name]}) from problem
        raise


def change_all(values: Mapping[str, str], actor: str) -> None:
    """Set several, all or none; http_proxy as it was shown keeps its password.

    Raises InvalidFields, with the names of the settings as fields.
    """
    new: dict[str, bool | str] = {}
    refused: dict[str, list[str]] = {}
    for name, value in values.items():
        try:
            new[name] = KNOWN[_checked(name)].parse(value)
        except InvalidFields as problem:
            refused |= {name if key == "value" else key: at for key, at in problem.fields.items()}
    if refused:
        raise InvalidFields(refused)
    if HTTP_PROXY in new:
        new[HTTP_PROXY] = _keep_login(str(new[HTTP_PROXY]))
    for name, chosen in new.items():
        db.session.merge(Setting(key=name, value=chosen))
        # A proxy's address may hold a password: the event records only that it changed.
        details = {} if name == HTTP_PROXY else {"value": chosen}
        events.record("setting.changed", actor=actor, subject=name, **details)
    db.session.commit()
    wake()


def proxy_for_sources(url: str = "") -> str:
    """The proxy for an address when its source names none; "" to reach it directly."""
    values = read_all()
    is_used = values[USES_PROXY] and not values[NO_PROXY]
    if not is_used or exemptions.is_exempt(url, exemptions.parse(str(values[EXEMPT_HOSTS]))):
        return ""
    address = str(values[HTTP_PROXY])
    if not proxies.is_masked(address):
        return address
    kept = db.session.get(Setting, PROXY_LOGIN)
    return proxies.join(address, secrets.unseal(kept.value if kept else ""))


def _keep_login(address: str) -> str:
    """Keep the login of http_proxy apart from it. Gives the address that may be shown."""
    if proxies.is_masked(address):
        if address != read(HTTP_PROXY):
            raise InvalidFields({"value": [proxies.AGAIN]})
        return address
    shown, login = proxies.split(address)
    db.session.merge(Setting(key=PROXY_LOGIN, value=secrets.seal(login)))
    return shown


def _checked(name: str) -> str:
    if name not in KNOWN:
        known = ", ".join(KNOWN)
        raise InvalidFields({"name": [f"{name[:60]!r} isn't an image setting. Settings: {known}."]})
    return name


def _typed(known: Known, value: Any) -> bool | str:
    """A value as it is kept, also one that an older version wrote in other words."""
    if value is None:
        return known.default
    if isinstance(known.default, bool) and not isinstance(value, bool):
        return _WORDS.get(str(value).lower(), known.default)
    return bool(value) if isinstance(known.default, bool) else str(value)


def is_auto_import() -> bool:
    """Whether images are imported on schedule; on unless an administrator turned it off."""
    return bool(read(AUTO_IMPORT))


def set_auto_import(is_on: bool, actor: str) -> None:
    """Turn the schedule on or off; running imports continue."""
    change(AUTO_IMPORT, str(is_on), actor)
