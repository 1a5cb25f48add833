# SPDX-License-Identifier: Apache-2.0
"""Read routes, and find the interface each one leaves by (rule: esxi-route-gateways).

One default gateway per address family counts (rule: esxi-subnet-addresses).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator

from webapp import numbers
from webapp.vmware.keys import Table, Taken, take
from webapp.vmware.model import ERROR, IP, NOTE, STOPS, WARNING, Config, Link, Route, Subnet, shown
from webapp.vmware.reading import Value
from webapp.vmware.scalars import ip, with_prefix

_LEFT_OUT = {"table", "type", "scope"}
_EVERYTHING = ("0.0.0.0/0", "::/0")


def read_gateway(config: Config, value: Value | None, family: int = 0) -> list[Route]:
    """The default route by this gateway; family: the one that it has to be of, 0 for any."""
    via = ip(config, value, "a gateway", value.place) if value is not None else None
    if value is None or via is None:
        return []
    if family not in (0, via.version):
        message, fix = f"{via} isn't an IPv{family} address.", f"Use gateway{via.version}."
        config.find(ERROR, "gateway", message, value.place, STOPS, fix)
        return []
    return [Route("default", via, value.place)]


def read_route(config: Config, route: Value, known: Table, kind: str) -> list[Route]:
    """One route; none when it can't be used, which a finding says."""
    if route.kind != "map":
        message = f"A route is {shown(route)}; it takes a map."
        config.find(ERROR, "wrong-type", message, route.place, STOPS, "Give its keys and values.")
        return []
    got = take(config, route, known, kind, at=route.place)
    if got.named & _LEFT_OUT:
        return []
    via = ip(config, got.get("via") or got.get("gateway"), "a gateway", route.place)
    network = _network(config, route, got)
    if via is None or network is None:
        return []
    if (":" in network and via.version == 4) or ("." in network and via.version == 6):
        message = f"A route to {network} can't go by {via}, which is of the other family."
        config.find(ERROR, "route", message, route.place, STOPS, "Use a gateway of its family.")
        return []
    metric = (value.text or "") if (value := route.get("metric")) is not None else ""
    on_link = got.get("on-link")
    is_default = network in _EVERYTHING
    return [
        Route(
            "default" if is_default else network,
            via,
            route.place,
            metric=numbers.whole(metric, digits=10) or 0,
            on_link=on_link is not None and on_link.as_bool() is True,
        )
    ]


def _network(config: Config, route: Value, got: Taken) -> str | None:
    """The destination with its prefix length, or "default"."""
    names = ("to", "destination", "network")
    target = next((found for name in names if (found := got.get(name))), None)
    if target is None:
        fix = "Write it as 10.1.0.0/16."
        config.find(ERROR, "route", "A route has no destination.", route.place, STOPS, fix)
        return None
    text = target.text or ""
    if text == "default":
        return text
    mask = got.get("prefix") or got.get("netmask")
    if "/" not in text and mask is not None:
        text = f"{text}/{(mask.text or '').removeprefix('/')}"
    try:
        network = ipaddress.ip_network(with_prefix(text), strict=False)
        is_plain = "/" in text or got.get("to") is not None
        if _is_local(network):
            problem = "isn't a network that a route can lead to"
        elif is_plain and "%" not in text:
            if str(network.network_address) != str(ipaddress.ip_address(text.partition("/")[0])):
                message = f"{text[:60]} has bits behind its prefix length; {network} is used."
                config.find(NOTE, "route", message, target.place)
            return str(network)
        else:
            problem = "has no prefix length"
    except ValueError:
        problem = "isn't a network"
    message = f"{text[:60]!r} {problem}."
    config.find(ERROR, "route", message, target.place, STOPS, "Write it as 10.1.0.0/16.")
    return None


def _is_local(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    """Whether no gateway ever forwards to it: multicast, the loopback, IPv6 link-local."""
    is_on_link = network.version == 6 and network.is_link_local
    return network.is_multicast or network.is_loopback or is_on_link


def place_routes(
    config: Config, links: list[Link], report: Callable[[Subnet, Route], None]
) -> None:
    """Hand every route that is added to the subnet whose network holds its gateway.

    Of several routes to one network the one with the lowest metric counts, as on Linux.
    """
    every = [subnet for link in links for subnet in link.subnets]
    added: dict[tuple[str, int], tuple[Route, Subnet]] = {}
    order: list[tuple[str, int]] = []
    for own, route in _all(config, links):
        holder = _holder(config, route, own, every)
        if holder is None or not _is_sound(config, route, every):
            continue
        key: tuple[str, int] = (route.network, route.gateway.version)
        if key not in added:
            order.append(key)
            added[key] = (route, holder)
            continue
        kept, lost = added[key][0], route
        if route.metric < kept.metric:
            kept, lost = route, kept
            added[key] = (route, holder)
        is_same = lost.gateway == kept.gateway
        what = (
            f"The same route to {lost.network}" if is_same else f"A second route to {lost.network}"
        )
        message = f"{what} is left out; the one by {kept.gateway} stays."
        severity = NOTE if is_same else WARNING
        config.find(severity, "second-route", message, lost.place)
    for key in order:
        route, holder = added[key]
        report(holder, route)


def _all(config: Config, links: list[Link]) -> Iterator[tuple[Link | None, Route]]:
    for link in links:
        yield from ((link, route) for route in link.routes)
    yield from ((None, route) for route in config.routes)


def _holder(config: Config, route: Route, own: Link | None, every: list[Subnet]) -> Subnet | None:
    """The subnet that a route belongs to; None and an error when there is none."""
    via = route.gateway
    mine = own.subnets if own is not None else every
    if _is_link_local(via):
        return _link_local_holder(config, route, mine)
    found = _nearest(via, mine)
    if found is None and (found := _nearest(via, every)) is not None:
        message = f"The gateway {via} is in {_network_of(found)}, so the route goes that way."
        config.find(WARNING, "route-elsewhere", message, route.place)
    if found is not None:
        if route.on_link:
            config.find(NOTE, "ignored", f"on-link isn't needed for {via}.", route.place)
        return found
    of_family = [subnet for subnet in mine if subnet.has_family(via.version)]
    unknown = next((subnet for subnet in of_family if subnet.address is None), None)
    if unknown is not None and not route.on_link:
        message = f"Whether {via} can be reached depends on the address that the host is given."
        happens = "The host refuses the route if the gateway isn't in its network."
        config.find(WARNING, "gateway-unchecked", message, route.place, happens)
        return unknown
    _refuse(config, route, of_family)
    return None


def _link_local_holder(config: Config, route: Route, mine: list[Subnet]) -> Subnet | None:
    of_family = [subnet for subnet in mine if subnet.has_family(6)]
    if not of_family:
        _refuse(config, route, of_family)
        return None
    if route.network != "default" and len(of_family) > 1:
        message = f"{route.gateway} is link-local and doesn't say which interface it is on."
        config.find(WARNING, "gateway-unchecked", message, route.place)
    return of_family[0]


def _refuse(config: Config, route: Route, of_family: list[Subnet]) -> None:
    via = route.gateway
    networks = ", ".join(_network_of(subnet) for subnet in of_family[:5])
    if route.on_link:
        message = f"The gateway {via} is outside the host's networks, and ESXi has no on-link."
    elif of_family:
        message = f"The gateway {via} isn't in a network of the host ({networks})."
    else:
        message = f"There's no IPv{via.version} address here to reach the gateway {via} with."
    fix = "Use a gateway of the same network, or give the interface an address of its network."
    config.find(ERROR, "gateway", message, route.place, STOPS, fix)


def _is_sound(config: Config, route: Route, every: list[Subnet]) -> bool:
    """Whether the gateway can be one, and the destination isn't a network of the host itself."""
    for subnet in every:
        address = subnet.address
        if address is None or address.version != route.gateway.version:
            continue
        network = address.network
        ends = (network.network_address, network.broadcast_address)
        is_end = network.version == 4 and network.prefixlen < 31 and route.gateway in ends
        if route.gateway == address.ip or is_end:
            what = "the host's own address" if route.gateway == address.ip else "no host's address"
            message = f"The gateway {route.gateway} is {what}."
            config.find(ERROR, "gateway", message, route.place, STOPS, "Give the router's address.")
            return False
        if route.network in (str(network), f"{address.ip}/{network.max_prefixlen}"):
            where = "the host is in that network"
            where = where if route.network == str(network) else "it's the host's own address"
            message = f"The route to {route.network} is left out: {where}."
            config.find(WARNING, "second-route", message, route.place)
            return False
    return True


def _nearest(via: IP, subnets: list[Subnet]) -> Subnet | None:
    """The subnet with the smallest network that holds the gateway."""
    holding = [s for s in subnets if s.address is not None and via in s.address.network]
    return max(holding, key=_prefix_length, default=None)


def _prefix_length(subnet: Subnet) -> int:
    return subnet.address.network.prefixlen if subnet.address is not None else 0


def _network_of(subnet: Subnet) -> str:
    return str(subnet.address.network) if subnet.address else " and ".join(subnet.kinds)


def _is_link_local(via: IP) -> bool:
    """IPv6 only: 169.254.0.0/16 is a network like any other for a gateway."""
    return via.version == 6 and via.is_link_local
