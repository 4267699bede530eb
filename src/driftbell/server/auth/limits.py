"""Limits of requests: unknown keys by client address, all requests by key. Each process counts alone."""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict

import structlog

from driftbell.server.http.problems import Refused

MAX_GUESSES = 20
"""Unknown keys of one address within `GUESS_SECONDS` that are answered with 401; further ones get 429."""

MAX_ALL_GUESSES = 1000
"""Unknown keys of all addresses within `GUESS_SECONDS`; beyond it each gets 429, from wherever it comes."""

GUESS_SECONDS = 60.0

MAX_ADDRESSES = 10_000
"""Addresses that are remembered; beyond it the oldest ones are forgotten."""

EVERYONE = ""
"""Stands for all addresses; no client has it."""

logger = structlog.get_logger()


class GuessLimit:
    """Counts unknown keys by client address and in total, in fixed windows.

    Valid keys are never counted or refused.
    """

    def __init__(self) -> None:
        self._windows: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def count(self, address: str, now: float) -> float:
        """Count one more unknown key, and log when a limit is reached.

        Args:
            address: the client's address; of IPv6, the network of 64 bits counts as one client.
            now: a monotonic time in seconds.

        Returns:
            The seconds for which unknown keys of this client are refused; 0 if this one is answered.
        """
        total, seconds_of_all = self._add(EVERYONE, now)
        number, seconds = self._add(network_of(address), now)
        if total == MAX_ALL_GUESSES + 1:
            logger.warning("many unknown API keys from all clients", keys=total)
        if number == MAX_GUESSES + 1:
            logger.warning("many unknown API keys from one client", client=address, keys=number)
        return max(
            seconds_of_all if total > MAX_ALL_GUESSES else 0.0, seconds if number > MAX_GUESSES else 0.0
        )

    def _add(self, client: str, now: float) -> tuple[int, float]:
        start, number = self._windows.pop(client, (now, 0))
        if now >= start + GUESS_SECONDS:
            start, number = now, 0
        self._windows[client] = (start, number + 1)
        if len(self._windows) > MAX_ADDRESSES:
            self._windows.popitem(last=False)
        return number + 1, start + GUESS_SECONDS - now


class RateLimit:
    """Limits the requests of each key by the generic cell rate algorithm (ITU-T I.371), one number a key.

    Args:
        count: requests within the period, which may come at once.
        seconds: the period.
    """

    def __init__(self, count: int, seconds: float) -> None:
        self._text = f"{count} requests in {seconds:g} s"
        self._interval = seconds / count
        self._period = seconds
        self._due: dict[str, float] = {}

    def check(self, key_id: str, now: float) -> None:
        """Count one request of a key.

        Args:
            key_id: the key's id.
            now: a monotonic time in seconds.

        Raises:
            Refused: 429, there were too many.
        """
        due = max(self._due.get(key_id, now), now) + self._interval
        wait = due - now - self._period
        if wait > 1e-9 * self._period:  # rounding
            detail = f"this API key may send {self._text} (auth.rate): send fewer, or try again later"
            raise Refused(429, "rate", detail, headers={"Retry-After": str(math.ceil(wait))})
        self._due[key_id] = due


def network_of(address: str) -> str:
    """Return the address that counts as one client.

    >>> network_of("192.0.2.7"), network_of("::ffff:192.0.2.7"), network_of("2001:db8::1:2:3:4")
    ('192.0.2.7', '192.0.2.7', '2001:db8::/64')
    """
    if ":" not in address:
        return address
    try:
        full = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    return str(full.ipv4_mapped or ipaddress.ip_network((full, 64), strict=False))
