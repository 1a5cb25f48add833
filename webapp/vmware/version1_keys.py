# SPDX-License-Identifier: Apache-2.0
"""Every key of network configuration v1 and what ESXi makes of it."""

from __future__ import annotations

from webapp.vmware.keys import USED, Key, table
from webapp.vmware.model import NOTE, WARNING
from webapp.vmware.shared_keys import (
    DRIVER,
    KEEPS_ADDRESS,
    LACP,
    LINUX,
    METRIC,
    NOTIFIES,
    ONE_UPLINK,
    OWN_MAC,
    TABLE,
    TEAM,
    lacp_key,
)

_HINT = "The address shows its family."

_NAMES = (
    Key("type", "text", USED, "The kind of entry."),
    Key("name", "text", USED, "The name of the portgroup."),
    Key("id", "text", USED, "The name, where there is no other."),
)
_DEVICE = (
    *_NAMES,
    Key("mtu", "number", USED, "On the vSwitch and on the VMkernel interfaces."),
    Key("subnets", "list", USED, "Each gets a VMkernel interface and a portgroup."),
    Key("accept-ra", "switch", NOTE, "ESXi asks for advertisements by itself."),
    Key("wakeonlan", "switch", NOTE, DRIVER),
    Key("keep-configuration", "text", NOTE, LINUX),
)

_ROUTE = (
    Key("id", "text", USED, "Nothing: it names the entry."),
    Key("destination", "text", USED, "The destination."),
    Key("network", "text", USED, "The destination, where there is no other."),
    Key("netmask", "text", USED, "The destination's netmask or prefix length."),
    Key("prefix", "number", USED, "The destination's prefix length."),
    Key("gateway", "text", USED, "The gateway; it has to be in a network of the host."),
    METRIC,
    TABLE,
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
            Key("mac_address", "text", WARNING, OWN_MAC),
        ),
        # With or without bond- or bond_ before it, with hyphens or underscores.
        "params": (
            Key("mode", "text", USED, "The load balancing of the team."),
            Key("primary", "text", USED, "The active NIC; the others are standby."),
            lacp_key("lacp-rate"),
            lacp_key("xmit-hash-policy"),
            Key("ad-actor-key", "text", NOTE, LACP),
            Key("ad-actor-sys-prio", "number", NOTE, LACP),
            Key("ad-actor-system", "text", NOTE, LACP),
            Key("ad-aggregator", "text", NOTE, LACP),
            Key("ad-num-ports", "number", NOTE, LACP),
            Key("ad-partner-key", "text", NOTE, LACP),
            Key("ad-partner-mac", "text", NOTE, LACP),
            Key("ad-select", "text", NOTE, LACP),
            Key("ad-user-port-key", "text", NOTE, LACP),
            Key("active-slave", "text", NOTE, "primary chooses the active NIC."),
            Key("primary-reselect", "text", NOTE, "The active NIC is used once it is up."),
            Key("all-slaves-active", "text", NOTE, TEAM),
            Key("arp-all-targets", "text", NOTE, TEAM),
            Key("arp-interval", "number", NOTE, TEAM),
            Key("arp-ip-target", "text", NOTE, TEAM),
            Key("arp-validate", "text", NOTE, TEAM),
            Key("downdelay", "number", NOTE, TEAM),
            Key("updelay", "number", NOTE, TEAM),
            Key("miimon", "number", NOTE, TEAM),
            Key("mii-status", "text", NOTE, TEAM),
            Key("min-links", "number", NOTE, TEAM),
            Key("use-carrier", "text", NOTE, TEAM),
            Key("fail-over-mac", "text", NOTE, KEEPS_ADDRESS),
            Key("lp-interval", "number", NOTE, NOTIFIES),
            Key("num-grat-arp", "number", NOTE, NOTIFIES),
            Key("num-unsol-na", "number", NOTE, NOTIFIES),
            Key("peer-notif-delay", "number", NOTE, NOTIFIES),
            Key("resend-igmp", "number", NOTE, NOTIFIES),
            Key("packets-per-slave", "number", NOTE, ONE_UPLINK),
            Key("queue-id", "text", NOTE, ONE_UPLINK),
            Key("tlb-dynamic-lb", "text", NOTE, ONE_UPLINK),
            Key("slaves", "text", NOTE, "bond_interfaces names the members."),
        ),
        "nameserver": (
            *_NAMES,
            Key("address", "list", USED, "The host's DNS servers."),
            Key("search", "list", USED, "The host's search domains."),
            Key("interface", "text", NOTE, "ESXi has one list of DNS servers for the host."),
        ),
        "route": (Key("type", "text", USED, "The kind of entry."), *_ROUTE),
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
                message="{name} of a subnet is ignored on ESXi.", code="dns-ignored"),
            Key("dns_search", "list", NOTE, "A nameserver entry is used instead.",
                message="{name} of a subnet is ignored on ESXi.", code="dns-ignored"),
            Key("control", "text", WARNING, "The interface is always brought up.",
                unless=("auto",)),
            Key("mtu", "number", WARNING, "The MTU is that of the interface."),
            Key("metric", "number", WARNING, "ESXi has no metrics.", unless=("0",)),
            Key("broadcast", "text", NOTE, "It follows from the netmask."),
            Key("pointopoint", "text", WARNING, "Every interface belongs to a network."),
            Key("scope", "text", NOTE, "Every address has the scope global.",
                unless=("global",)),
            Key("ipv4", "switch", NOTE, _HINT),
            Key("ipv6", "switch", NOTE, _HINT),
        ),
    }
)  # fmt: skip
