"""Which network addresses and hosts a server may be sent to by a stranger."""

from __future__ import annotations

import ipaddress
import socket

from django.conf import settings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Python's is_global differs between patch releases and lets some of these through: RFC 6890 and what clouds use.
_REFUSED_V4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; holds a cloud's metadata address too
        "127.0.0.0/8",
        "168.63.129.16/32",  # a cloud's host agent, on a public address
        "169.254.0.0/16",  # link-local and the usual metadata address
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_REFUSED_V6 = tuple(
    ipaddress.IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "3fff::/20")
)  # Teredo, ORCHID, documentation
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

_LOCAL_SUFFIXES = (".localhost", ".local", ".internal", ".intranet", ".lan", ".home.arpa", ".localdomain")


def is_public(address: Address) -> bool:
    """Whether the address is one of the open internet, also when an IPv4 address hides inside an IPv6 one."""
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not any(address in network for network in _REFUSED_V4)
    if address.scope_id:
        return False
    inner = _embedded_v4(address)
    if inner is not None:
        return is_public(inner)
    return address.is_global and address in _GLOBAL_V6 and not any(address in network for network in _REFUSED_V6)


def may_dial(address: Address) -> bool:
    return settings.FETCH_ALLOW_PRIVATE or is_public(address)


def literal(host: str) -> Address | None:
    """The address that `host` spells, in any spelling the system's resolver takes (127.1, 0x7f000001, 2130706433)."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None


def is_local_name(host: str) -> bool:
    name = host.rstrip(".").lower()
    return name == "localhost" or name.endswith(_LOCAL_SUFFIXES)


def is_this_machine(host: str) -> bool:
    """Whether `host` says in so many words that it is the machine it is asked on."""
    name = host.rstrip(".").lower()
    address = literal(name)
    return name == "localhost" or name.endswith(".localhost") or (address is not None and address.is_loopback)


def _embedded_v4(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None
