# SPDX-License-Identifier: Apache-2.0
"""A plan as a picture: NICs to vSwitches to portgroups to vmks, drawn as SVG."""

from __future__ import annotations

from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from webapp.vmware.planned import HostPlan

_WIDTH, _ROW, _BOX, _TOP = 180, 64, 44, 40
_COLUMNS = ("NICs", "vSwitches", "Port groups", "VMkernel interfaces")
_GAP = 70


@dataclass(frozen=True)
class _Box:
    column: int
    row: float
    lines: tuple[str, ...]

    @property
    def x(self) -> int:
        return self.column * (_WIDTH + _GAP)

    @property
    def y(self) -> float:
        return _TOP + self.row * _ROW

    @property
    def middle(self) -> float:
        return self.y + _BOX / 2


def draw(plan: HostPlan) -> str:
    """An SVG document; colours are the page's own (currentColor), so it fits light and dark."""
    boxes: list[_Box] = []
    lines: list[tuple[_Box, _Box]] = []
    row = 0.0
    for switch in plan.vswitches:
        vmks = [vmk for vmk in plan.vmks if vmk.vswitch == switch.name]
        height = max(1, len(switch.uplinks), len(vmks))
        center = row + (height - 1) / 2
        team = f", {switch.policy}" if switch.policy else ""
        middle = _Box(1, center, (switch.name, f"MTU {switch.mtu or 1500}{team}"))
        boxes.append(middle)
        for number, uplink in enumerate(switch.uplinks):
            place = center - (len(switch.uplinks) - 1) / 2 + number
            role = "active" if switch.policy == "explicit" and number == 0 else "uplink"
            box = _Box(0, place, (uplink, role))
            boxes.append(box)
            lines.append((box, middle))
        for number, vmk in enumerate(vmks):
            place = center - (len(vmks) - 1) / 2 + number
            vlan = f"VLAN {vmk.vlan}" if vmk.vlan else "untagged"
            group = _Box(2, place, (vmk.portgroup, vlan))
            address = str(vmk.address) if vmk.address else " and ".join(vmk.kinds)
            last = _Box(3, place, (vmk.name, address))
            boxes += [group, last]
            lines += [(middle, group), (group, last)]
        row += height
    width = 4 * _WIDTH + 3 * _GAP
    height_px = int(_TOP + max(row, 1) * _ROW)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height_px}" role="img" '
        f"aria-label={quoteattr(describe(plan))} "
        'font-family="system-ui, sans-serif" font-size="13" fill="currentColor">'
    ]
    for column, title in enumerate(_COLUMNS):
        x = column * (_WIDTH + _GAP)
        parts.append(f'<text x="{x}" y="18" opacity="0.7">{title}</text>')
    for start, end in lines:
        x1, x2 = start.x + _WIDTH, end.x
        parts.append(
            f'<path d="M{x1} {start.middle:g}C{x1 + 35} {start.middle:g} {x2 - 35} '
            f'{end.middle:g} {x2} {end.middle:g}" fill="none" stroke="currentColor" opacity="0.5"/>'
        )
    for box in boxes:
        parts.append(
            f'<rect x="{box.x}" y="{box.y:g}" width="{_WIDTH}" height="{_BOX}" rx="6" '
            'fill="none" stroke="currentColor"/>'
        )
        for number, text in enumerate(box.lines):
            weight = ' font-weight="600"' if number == 0 else ""
            short = text if len(text) <= 24 else text[:23] + "…"
            parts.append(
                f'<text x="{box.x + 10}" y="{box.y + 18 + number * 17:g}"{weight}>'
                f"{escape(short)}</text>"
            )
    if not boxes:
        parts.append(f'<text x="0" y="{_TOP + 20}">The host gets no network.</text>')
    return "".join(parts) + "</svg>"


def describe(plan: HostPlan) -> str:
    """The picture in words, for people who can't see it."""
    if not plan.vswitches:
        return "The host gets no network."
    words = []
    for switch in plan.vswitches:
        names = [
            f"{vmk.name} {vmk.address or ' and '.join(vmk.kinds)}"
            for vmk in plan.vmks
            if vmk.vswitch == switch.name
        ]
        nics = ", ".join(switch.uplinks) or "no NIC"
        words.append(f"{switch.name} with {nics} carries {', '.join(names) or 'no interface'}")
    return "; ".join(words) + "."
