"""Whom a tool may connect to: public addresses only, looked at after the name was resolved.

A page that a model was given may ask it to fetch `http://169.254.169.254/` (the keys of a cloud machine) or a router's
settings. So a name is resolved once, every address that it has is looked at, and the connection is made to one of those
very addresses: a name that resolves differently the next time (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket

from whetstone.errors import UsageError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# What answers machines of a cloud about themselves, keys included, from addresses that count as public.
_METADATA = {ipaddress.ip_address(address) for address in ("168.63.129.16", "169.254.169.254", "100.100.100.200")}
# Ways to write an IPv4 address as an IPv6 one, besides those that `ipaddress` knows; the last four bytes hold it.
_TRANSLATED = [ipaddress.ip_network(network) for network in ("64:ff9b::/96", "64:ff9b:1::/48", "::/96")]


class Network:
    """How names become addresses, and which of these may be connected to."""

    def resolve(self, host: str, port: int) -> list[Address]:
        """Every address of a host.

        Raises:
            UsageError: the name has none.
        """
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise UsageError(f"the host {host} is not known") from None
        # The scope of a link-local address ("%eth0") is no part of it.
        return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]

    def is_allowed(self, address: Address) -> bool:
        """Whether an address is public."""
        return is_public(address)

    def checked(self, host: str, port: int) -> list[Address]:
        """The addresses of a host, if all of them may be connected to.

        Raises:
            UsageError: the name is not known, or one of its addresses is not public.
        """
        addresses = self.resolve(host, port)
        for address in addresses:
            if not self.is_allowed(address):
                raise UsageError(f"{host} leads to {address}, which is no public address: it is not fetched")
        return addresses


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet, whichever way it is written.

    Not: private and shared networks, this machine, link-local and multicast addresses, documentation and test ranges,
    the metadata services of clouds, and IPv6 forms of an IPv4 address that is none of the public ones.
    """
    if address in _METADATA or address.is_multicast or address.is_unspecified or not address.is_global:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.is_site_local:
            return False
        inside = _inside(address)
        return inside is None or is_public(inside)
    return True


def _inside(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if any(address in network for network in _TRANSLATED):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None
