"""How many false alarms a user allows: one number, read from words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from driftbell.errors import ConfigError

USUAL = timedelta(minutes=5)
"""How often a check is assumed where checks do not run by themselves."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_HINT = "must be false alarms per time or per checks, such as '1 per 30d' or '2 per 1000 checks'"
_NUMBER = r"\d+(?:[_,]\d{3})*(?:\.\d+)?"
_GRAMMAR = re.compile(rf"\s*({_NUMBER})\s+per\s+({_NUMBER})\s*([a-z]+)\s*")


@dataclass(frozen=True, slots=True)
class Budget:
    """False alarms that are allowed, per time or per number of checks.

    Attributes:
        alarms: how many.
        period: in how much time; None where checks are counted.
        checks: in how many checks; None where time is.
    """

    alarms: float
    period: timedelta | None = None
    checks: int | None = None

    def checks_per_alarm(self, every: timedelta | None = None) -> float:
        """Return the number of checks for each allowed false alarm; at least one.

        Args:
            every: how often a check runs; None (they do not run by themselves) is taken for 5 minutes.

        >>> parse_budget("1 per 30d").checks_per_alarm(timedelta(minutes=5))
        8640.0
        >>> parse_budget("2 per 1000 checks").checks_per_alarm()
        500.0
        """
        if self.checks is not None:
            return max(1.0, self.checks / self.alarms)
        assert self.period is not None
        return max(1.0, self.period / (every or USUAL) / self.alarms)

    def per_day(self, every: timedelta | None = None) -> float:
        """Return the allowed false alarms per day.

        Args:
            every: see `checks_per_alarm`; it matters where checks are counted.

        >>> parse_budget("3 per 30d").per_day()
        0.1
        >>> parse_budget("2 per 1000 checks").per_day(timedelta(hours=1))
        0.048
        """
        return timedelta(days=1) / (every or USUAL) / self.checks_per_alarm(every)

    def __str__(self) -> str:
        """Write it as it is read."""
        if self.checks is not None:
            return f"{self.alarms:.15g} per {self.checks} checks"
        assert self.period is not None
        seconds = self.period.total_seconds()
        unit = next(u for u in ("d", "h", "m", "s") if seconds % _UNITS[u] == 0 or u == "s")
        return f"{self.alarms:.15g} per {seconds / _UNITS[unit]:.15g}{unit}"


def parse_budget(text: str) -> Budget:
    """Read a budget.

    Args:
        text: `N per DURATION` (s, m, h, d or w) or `N per M checks`.

    Raises:
        ConfigError: it is something else, or allows nothing, or an alarm in each check.

    >>> parse_budget("1 per 30d")
    Budget(alarms=1.0, period=datetime.timedelta(days=30), checks=None)
    >>> print(parse_budget("0.5 per 1,000 checks"))
    0.5 per 1000 checks
    """
    found = _GRAMMAR.fullmatch(text)
    if not found:
        raise ConfigError(_HINT)
    alarms, amount, unit = _number(found[1]), _number(found[2]), found[3]
    if not alarms:
        raise ConfigError(f"{_HINT}; none at all cannot be promised")
    if not 1e-6 <= alarms <= 1e6:
        raise ConfigError(f"{_HINT}; from 0.000001 to 1000000 alarms")
    if unit in ("check", "checks"):
        if amount > 1e12 or amount != int(amount) or amount <= alarms:
            raise ConfigError(f"{_HINT}; the checks must be a whole number, more than the alarms, up to 1e12")
        return Budget(alarms, checks=int(amount))
    if unit not in _UNITS:
        raise ConfigError(f"{_HINT}; the unit '{unit}' is none of {', '.join(_UNITS)} and checks")
    seconds = amount * _UNITS[unit]
    if not 1 <= seconds <= 1e9:
        raise ConfigError(f"{_HINT}; from one second to some 30 years")
    return Budget(alarms, period=timedelta(seconds=seconds))


def parse_every(text: str) -> timedelta:
    """Read how often a check runs.

    Args:
        text: a number with s, m, h, d or w.

    Raises:
        ConfigError: it is something else, or less than a second.

    >>> parse_every("5m")
    datetime.timedelta(seconds=300)
    """
    found = re.fullmatch(rf"\s*({_NUMBER})\s*([smhdw])\s*", text)
    seconds = _number(found[1]) * _UNITS[found[2]] if found else 0.0
    if not 1 <= seconds <= 1e9:
        raise ConfigError("must be how often a check runs, such as '5m' or '1d', from one second to 30 years")
    return timedelta(seconds=seconds)


def _number(text: str) -> float:
    return float(text.replace(",", "").replace("_", ""))
