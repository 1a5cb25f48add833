# SPDX-License-Identifier: Apache-2.0
"""Every key of network configuration v1 and what ESXi makes of it."""

from __future__ import annotations

from webapp.vmware.keys import USED, Key, table
from webapp.vmware.model import NOTE, WARNING
from webapp.vmware.netplan_keys import CHANNEL, MAIN, NO_LACP

_LINUX = "It's a setting of Linux network services."
_TEAM = "A vSwitch only watches whether the link is up."
_LACP = "The team hashes by IP address, which needs a static channel, not LACP."
_NOTIFIES = "ESXi notifies the switches by itself."
_HINT = "The address shows its family."
_OWN_MAC = "The VMkernel interface gets an address of ESXi's."

_NAMES = (
    Key("type", "text", USED, "Tells what the entry is."),
    Key("name", "text", USED, "The name of the portgroup."),
    Key("id", "text", USED, "The name, where there is no other."),
)
_DEVICE = (
    *_NAMES,
    Key("mtu", "number", USED, "On the vSwitch and on the VMkernel interfaces."),
    Key("subnets", "list", USED, "Each gets a VMkernel interface and a portgroup."),
    Key("accept-ra", "switch", NOTE, "ESXi asks for advertisements by itself."),
    Key("wakeonlan", "switch", NOTE, "The NIC's driver decides."),
    Key("keep-configuration", "text", NOTE, _LINUX),
)

_ROUTE = (
    Key("id", "text", USED, "Nothing: it names the entry."),
    Key("destination", "text", USED, "The destination."),
    Key("network", "text", USED, "The destination, where there is no other."),
    Key("netmask", "text", USED, "The destination's netmask or prefix length."),
    Key("prefix", "number", USED, "The destination's prefix length."),
    Key("gateway", "text", USED, "The gateway; it has to be in a network of the host."),
    Key("metric", "number", WARNING, "Of two equal routes, the one with the lowest metric "
        "is added.", unless=("0",), say="The metric of a route is ignored on ESXi.",
        code="metric"),
    Key("table", "text", WARNING, "The host has one routing table.", unless=MAIN,
        say="The route of table {value} is left out.", code="table"),
)  # fmt: skip

VERSION1 = table(
    {
        "network": (
            Key("version", "number", USED, "Names the format."),
            Key("config", "list", USED, "The entries below."),
        ),
        "physical": (
            *_DEVICE,
            Key("mac_address", "text", USED, "Finds the NIC."),
            Key("params", "map", NOTE, "ESXi chooses the driver."),
        ),
        "bond": (
            *_DEVICE,
            Key("mac_address", "text", USED, "The member that has it is active."),
            Key("bond_interfaces", "list", USED, "The uplinks of the vSwitch."),
            Key("params", "map", USED, "NIC teaming."),
        ),
        "vlan": (
            *_DEVICE,
            Key("vlan_link", "text", USED, "The vSwitch of this device carries the portgroup."),
            Key("vlan_id", "number", USED, "The VLAN ID of the portgroup.", code="vlan"),
            Key("mac_address", "text", WARNING, _OWN_MAC),
        ),
        # With or without bond- or bond_ before it, with hyphens or underscores.
        "params": (
            Key("mode", "text", USED, "The load balancing of the team."),
            Key("primary", "text", USED, "The active NIC; the others are standby."),
            Key("lacp-rate", "text", WARNING, _LACP, say=NO_LACP, code="lacp", fix=CHANNEL),
            Key("xmit-hash-policy", "text", WARNING, _LACP, say=NO_LACP, code="lacp",
                fix=CHANNEL),
            Key("ad-actor-key", "text", NOTE, _LACP),
            Key("ad-actor-sys-prio", "number", NOTE, _LACP),
            Key("ad-actor-system", "text", NOTE, _LACP),
            Key("ad-aggregator", "text", NOTE, _LACP),
            Key("ad-num-ports", "number", NOTE, _LACP),
            Key("ad-partner-key", "text", NOTE, _LACP),
            Key("ad-partner-mac", "text", NOTE, _LACP),
            Key("ad-select", "text", NOTE, _LACP),
            Key("ad-user-port-key", "text", NOTE, _LACP),
            Key("active-slave", "text", NOTE, "primary chooses the active NIC."),
            Key("primary-reselect", "text", NOTE, "The active NIC is used once it is up."),
            Key("all-slaves-active", "text", NOTE, _TEAM),
            Key("arp-all-targets", "text", NOTE, _TEAM),
            Key("arp-interval", "number", NOTE, _TEAM),
            Key("arp-ip-target", "text", NOTE, _TEAM),
            Key("arp-validate", "text", NOTE, _TEAM),
            Key("downdelay", "number", NOTE, _TEAM),
            Key("updelay", "number", NOTE, _TEAM),
            Key("miimon", "number", NOTE, _TEAM),
            Key("mii-status", "text", NOTE, _TEAM),
            Key("min-links", "number", NOTE, _TEAM),
            Key("use-carrier", "text", NOTE, _TEAM),
            Key("fail-over-mac", "text", NOTE, "A VMkernel interface keeps its address."),
            Key("lp-interval", "number", NOTE, _NOTIFIES),
            Key("num-grat-arp", "number", NOTE, _NOTIFIES),
            Key("num-unsol-na", "number", NOTE, _NOTIFIES),
            Key("peer-notif-delay", "number", NOTE, _NOTIFIES),
            Key("resend-igmp", "number", NOTE, _NOTIFIES),
            Key("packets-per-slave", "number", NOTE, "A port stays with one uplink."),
            Key("queue-id", "text", NOTE, "A port stays with one uplink."),
            Key("tlb-dynamic-lb", "text", NOTE, "A port stays with one uplink."),
            Key("slaves", "text", NOTE, "bond_interfaces names the members."),
        ),
        "nameserver": (
            *_NAMES,
            Key("address", "list", USED, "The host's DNS servers."),
            Key("search", "list", USED, "The host's search domains."),
            Key("interface", "text", NOTE, "ESXi has one list of DNS servers for the host."),
        ),
        "route": (Key("type", "text", USED, "Tells what the entry is."), *_ROUTE),
        "routes": (
            Key("type", "text", USED, "Nothing: it is always route."),
            *_ROUTE,
        ),
        "subnets": (
            Key("type", "text", USED, "How the address is found."),
            Key("id", "text", USED, "Nothing: it names the entry."),
            Key("address", "text", USED, "The address."),
            Key("ip_address", "text", USED, "The address, where there is no other."),
            Key("netmask", "text", USED, "The netmask or prefix length."),
            Key("prefix", "number", USED, "The prefix length."),
            Key("gateway", "text", USED, "The default gateway of its family."),
            Key("routes", "list", USED, "Each becomes a static route."),
            Key("dns_nameservers", "list", NOTE, "A nameserver entry is used instead.",
                say="{name} of a subnet is ignored on ESXi.", code="dns-ignored"),
            Key("dns_search", "list", NOTE, "A nameserver entry is used instead.",
                say="{name} of a subnet is ignored on ESXi.", code="dns-ignored"),
            Key("control", "text", WARNING, "The interface is always brought up.",
                unless=("auto",)),
            Key("mtu", "number", WARNING, "The MTU is that of the interface."),
            Key("metric", "number", WARNING, "ESXi has no metrics.", unless=("0",)),
            Key("broadcast", "text", NOTE, "It follows from the netmask."),
            Key("pointopoint", "text", WARNING, "Every interface is one of a network."),
            Key("scope", "text", NOTE, "Every address has the scope global.",
                unless=("global",)),
            Key("ipv4", "switch", NOTE, _HINT),
            Key("ipv6", "switch", NOTE, _HINT),
        ),
    }
)  # fmt: skip
