"""Whom a gateway asks on a user's word: never itself, its node, or what hands out the node's credentials."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

_NEVER: Final = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "224.0.0.0/4",
        "255.255.255.255/32",
        "::/128",
        "::1/128",
        "fe80::/10",
        "ff00::/8",
        # Where nodes of one cloud keep their credentials, though it is no link-local address.
        "fd00:ec2::254/128",
    )
)
# Networks whose addresses carry one of IPv4 in their last 32 bits, or from the 17th bit on.
_ENDS_IN_V4: Final = tuple(ip_network(network) for network in ("::/96", "::ffff:0:0/96", "64:ff9b::/96"))
_SIX_TO_FOUR: Final = ip_network("2002::/16")


def may_be_asked(address: str) -> bool:
    """Whether a resolved address may be connected to: not loopback, link-local, multicast, or none at all."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return not any(each in network for each in _readings(parsed) for network in _NEVER)


def _readings(address: IPv4Address | IPv6Address) -> tuple[IPv4Address | IPv6Address, ...]:
    """The address, and the one of IPv4 that a router may make of it."""
    if isinstance(address, IPv4Address):
        return (address,)
    number = int(address)
    if any(address in network for network in _ENDS_IN_V4):
        return address, IPv4Address(number & 0xFFFFFFFF)
    if address in _SIX_TO_FOUR:
        return address, IPv4Address(number >> 80 & 0xFFFFFFFF)
    return (address,)
