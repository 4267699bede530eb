"""False-alarm budget: how many false alarms a user allows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from driftbell.errors import ConfigError

DEFAULT_EVERY = timedelta(minutes=5)
"""Assumed interval of checks if none is configured."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_HINT = "must be false alarms per time or per checks, such as '1 per 30d' or '2 per 1000 checks'"
_NUMBER = r"\d+(?:[_,]\d{3})*(?:\.\d+)?"
_GRAMMAR = re.compile(rf"\s*({_NUMBER})\s+per\s+({_NUMBER})\s*([a-z]+)\s*")


@dataclass(frozen=True, slots=True)
class Budget:
    """Allowed false alarms, per time or per number of checks.

    Attributes:
        alarms: number of allowed false alarms.
        period: in this time; None for a budget per checks.
        checks: in this many checks; None for a budget per time.
    """

    alarms: float
    period: timedelta | None = None
    checks: int | None = None

    def checks_per_alarm(self, every: timedelta | None = None) -> float:
        """Return the number of checks per allowed false alarm, at least 1.

        Args:
            every: interval of checks; 5 minutes if None (no scheduled checks).

        >>> parse_budget("1 per 30d").checks_per_alarm(timedelta(minutes=5))
        8640.0
        >>> parse_budget("2 per 1000 checks").checks_per_alarm()
        500.0
        """
        if self.checks is not None:
            return max(1.0, self.checks / self.alarms)
        assert self.period is not None
        return max(1.0, self.period / (every or DEFAULT_EVERY) / self.alarms)

    def seconds_per_alarm(self, every: timedelta | None = None) -> float:
        """Return the time per allowed false alarm in seconds.

        Args:
            every: see `checks_per_alarm`.

        >>> parse_budget("1 per 30d").seconds_per_alarm() / 86400
        30.0
        """
        return self.checks_per_alarm(every) * (every or DEFAULT_EVERY).total_seconds()

    def per_day(self, every: timedelta | None = None) -> float:
        """Return the allowed false alarms per day.

        Args:
            every: see `checks_per_alarm`; matters for a budget per checks.

        >>> parse_budget("3 per 30d").per_day()
        0.1
        >>> parse_budget("2 per 1000 checks").per_day(timedelta(hours=1))
        0.048
        """
        return timedelta(days=1) / (every or DEFAULT_EVERY) / self.checks_per_alarm(every)

    def __str__(self) -> str:
        """Return the text that `parse_budget` reads."""
        if self.checks is not None:
            return f"{self.alarms:.15g} per {self.checks} checks"
        assert self.period is not None
        return f"{self.alarms:.15g} per {format_every(self.period)}"


def parse_budget(text: str) -> Budget:
    """Parse a budget.

    Args:
        text: `N per DURATION` (s, m, h, d or w) or `N per M checks`.

    Raises:
        ConfigError: the text has another form, allows no alarm, or allows an alarm in each check.

    >>> parse_budget("1 per 30d")
    Budget(alarms=1.0, period=datetime.timedelta(days=30), checks=None)
    >>> print(parse_budget("0.5 per 1,000 checks"))
    0.5 per 1000 checks
    """
    match = _GRAMMAR.fullmatch(text)
    if not match:
        raise ConfigError(_HINT)
    alarms, amount, unit = _number(match[1]), _number(match[2]), match[3]
    if not alarms:
        raise ConfigError(f"{_HINT}; a budget of none is not possible")
    if not 1e-6 <= alarms <= 1e6:
        raise ConfigError(f"{_HINT}; from 0.000001 to 1000000 alarms")
    if unit in ("check", "checks"):
        if amount > 1e12 or amount != int(amount) or amount <= alarms:
            raise ConfigError(f"{_HINT}; the checks must be a whole number, more than the alarms, up to 1e12")
        return Budget(alarms, checks=int(amount))
    if unit not in _UNITS:
        raise ConfigError(f"{_HINT}; the unit '{unit}' is not one of {', '.join(_UNITS)} and checks")
    seconds = amount * _UNITS[unit]
    if not 1 <= seconds <= 1e9:
        raise ConfigError(f"{_HINT}; from one second to about 30 years")
    return Budget(alarms, period=timedelta(seconds=seconds))


def parse_every(text: str) -> timedelta:
    """Parse an interval of checks.

    Args:
        text: a number with s, m, h, d or w.

    Raises:
        ConfigError: the text has another form, or is not between one second and 30 years.

    >>> parse_every("5m")
    datetime.timedelta(seconds=300)
    """
    match = re.fullmatch(rf"\s*({_NUMBER})\s*([smhdw])\s*", text)
    seconds = _number(match[1]) * _UNITS[match[2]] if match else 0.0
    if not 1 <= seconds <= 1e9:
        raise ConfigError("must be an interval such as '5m' or '1d', from one second to 30 years")
    return timedelta(seconds=seconds)


def format_every(every: timedelta) -> str:
    """Return the text that `parse_every` reads, in the largest unit that needs no fraction.

    >>> format_every(timedelta(hours=48))
    '2d'
    """
    seconds = every.total_seconds()
    unit = next(u for u in ("d", "h", "m", "s") if seconds % _UNITS[u] == 0 or u == "s")
    return f"{seconds / _UNITS[unit]:.15g}{unit}"


def _number(text: str) -> float:
    return float(text.replace(",", "").replace("_", ""))
