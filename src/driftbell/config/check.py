"""Settings of the decision about drift."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, Field

from driftbell.alarms.limits import parse_limits
from driftbell.config.section import Section
from driftbell.config.values import Duration
from driftbell.errors import ConfigError

EFFECT = "must be from 0 to below 1, such as 0.05"


def parse_numbers(value: object, example: str) -> dict[str, object]:
    """Return the value by name of a mapping, or of a text such as `amount=0.1,zip=0.05`.

    Args:
        value: the mapping or the text.
        example: an example of such a text, for messages.

    Raises:
        ValueError: it has another form.
    """
    if isinstance(value, str):
        pairs = [part.rpartition("=") for part in re.split(r",(?=[^,]*=)", value) if part.strip()]
        value = {name.strip(): number.strip() for name, _, number in pairs}
    if not isinstance(value, Mapping) or not all(isinstance(n, str) and n for n in value):
        raise ValueError(f"must be numbers by name, such as '{example}'")
    return dict(value)


def parse_effects(value: object) -> dict[str, float]:
    """Return the smallest effect by column.

    Raises:
        ValueError: it has another form, or a number is out of range.
    """
    return {
        name: _effect(f"column '{name}' ", number)
        for name, number in parse_numbers(value, "amount=0.1").items()
    }


def _effect(owner: str, value: object) -> float:
    try:
        number = -1.0 if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number < 1:
        raise ValueError(f"{owner}{EFFECT}")
    return number


def parse_limit_values(value: object) -> dict[str, float]:
    """Return the value by name of limits: a mapping, also of mappings by column, or a text.

    Raises:
        ValueError: it has another form, a name has no known measure, or a value is out of range.
    """
    flat: dict[str, object] = {}
    for name, limit in parse_numbers(value, "age.null_share=0.1,age.max=120").items():
        flat |= flat_values(name, limit)
    try:
        return {limit.name: limit.value for limit in parse_limits(flat)}
    except ConfigError as error:
        raise ValueError(str(error)) from error


def flat_values(name: str, value: object) -> dict[str, object]:
    """Return the limits of a table of TOML, where an unquoted `a.max = 1` is a table of its own."""
    if not isinstance(value, Mapping):
        return {name: value}
    return {
        key: v for part, inner in value.items() for key, v in flat_values(f"{name}.{part}", inner).items()
    }


LimitValues = Annotated[dict[str, float], BeforeValidator(parse_limit_values)]
Effects = Annotated[dict[str, float], BeforeValidator(parse_effects)]


class CheckSettings(Section):
    """`[check]`."""

    every: Duration = timedelta(minutes=5)
    """The interval of automatic checks, such as '5m'; 'off' runs checks on request only."""
    minimum_rows: int = Field(10, ge=1)
    """The fewest predictions in the window for a verdict; with fewer it is unknown."""
    false_discovery_rate: float = Field(0.05, gt=0, lt=1)
    """Columns with a lasting p-value below it (adjusted by Benjamini–Hochberg) are listed as drifted."""
    smallest_effect: float = Field(0.02, ge=0, lt=1)
    """Changes of at most this share of a column's rows are negligible and not listed as drift."""
    smallest_effects: Effects = Field(default_factory=dict)
    """Another `check.smallest_effect` for single columns, such as {amount = 0.1}."""
    exact_rows: int = Field(200_000, ge=1000)
    """Parquet and text files with more rows are compared by counts on bins, in bounded memory."""
    refused_share: float = Field(0.01, ge=0, le=1)
    """A larger share of refused rows since the last check is a warning; 1 never warns."""

    def with_effects(self, texts: Iterable[str]) -> CheckSettings:
        """Return the settings with options such as `0.05` (all columns) or `amount=0.1` (one column).

        Raises:
            ConfigError: an option has another form, or is out of range.
        """
        effect, effects = self.smallest_effect, dict(self.smallest_effects)
        for text in texts:
            name, _, number = text.rpartition("=")
            try:
                if name:
                    effects[name] = _effect("", number)
                else:
                    effect = _effect("", text)
            except ValueError as error:
                raise ConfigError(
                    f"--smallest-effect {error} for all columns, or 'amount=0.1' for one; got '{text}'"
                ) from error
        return self.model_copy(update={"smallest_effect": effect, "smallest_effects": effects})
