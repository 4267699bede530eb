"""Addresses of machines."""

from __future__ import annotations

import ipaddress


def is_address(name: str) -> bool:
    """Return whether a text is an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(name: str) -> bool:
    """Return whether only this machine reaches an address to listen on.

    >>> is_loopback("localhost"), is_loopback("127.0.0.2"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    return name == "localhost" or (is_address(name) and ipaddress.ip_address(name).is_loopback)
