# SPDX-License-Identifier: Apache-2.0
"""Which NIC of the host each physical interface is (rule: esxi-nic-by-mac)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from webapp.vmware.model import ERROR, NOTE, STOPS, WARNING, Config, Link

_VMNIC = re.compile(r"vmnic[0-9]{1,3}")


class Nics:
    """Maps interfaces to vmnics by MAC address, or by counting where there is none."""

    def __init__(self, config: Config, nics: Mapping[str, str] | None) -> None:
        """nics: vmnic name -> MAC address; None when the host isn't known."""
        self.is_assumed = nics is None
        self._find = config.find
        self._by_order = config.finds_nics_by_order
        self._known = dict(nics or {})
        self._by_mac = {mac: name for name, mac in self._known.items()}
        self._counted: dict[str, str] = {}

    def all(self) -> set[str]:
        """Every NIC that there is, as far as known."""
        return set(self._counted.values()) if self.is_assumed else set(self._known)

    def count(self, physical: list[Link]) -> None:
        """Give the interfaces that nothing else identifies the NICs that are left, in order."""
        if self.is_assumed:
            if physical:
                message = "The host's NICs aren't known, so they're numbered from vmnic0."
                fix = "Give the NICs: vmnic0=MAC."
                self._find(NOTE, "nics", message, physical[0].place, "", fix)
            for link in physical:
                if _VMNIC.fullmatch(link.name):
                    self._counted[link.name] = link.name
            taken = set(self._counted.values())
            names = (name for n in range(2000) if (name := f"vmnic{n}") not in taken)
            for link in physical:
                if link.name not in self._counted:
                    self._counted[link.name] = next(names)
        elif self._by_order:
            nameless = [link for link in physical if not (link.mac or link.has_wrong_match)]
            named = [link.name for link in nameless if link.name in self._known]
            taken = {self._by_mac.get(link.mac, "") for link in physical} | set(named)
            left = iter(sorted(self._known.keys() - taken, key=_number))
            for link in nameless:
                nic = link.name if link.name in self._known else next(left, None)
                if nic is not None:
                    self._counted[link.name] = nic

    def of(self, link: Link) -> str | None:
        """The NIC of an interface; None when the host has none for it."""
        if not self.is_assumed and link.mac:
            return self._by_mac.get(link.mac)
        return self._counted.get(link.name)

    def used(self, link: Link) -> str | None:
        """The same, with a finding where it is a guess or missing."""
        nic = self.of(link)
        if nic is None and link.has_wrong_match:
            return None  # its own error says so
        if nic is None:
            message = (
                f"No NIC of the host has the MAC address of {link.name}."
                if link.mac
                else f"{link.name} has no MAC address that identifies its NIC."
            )
            fix = "Correct the MAC address." if link.mac else "Give the MAC address of its NIC."
            self._find(ERROR, "unmapped", message, link.place, STOPS, fix)
        elif not (self.is_assumed or link.mac or nic == link.name):
            message = f"{link.name} has no MAC address, so it is taken to be {nic}."
            fix = "Match it by macaddress."
            self._find(WARNING, "nics", message, link.place, "Another NIC may be meant.", fix)
        return nic


def _number(name: str) -> int:
    digits = re.sub(r"\D", "", name)[:6]
    return int(digits) if digits else 0
