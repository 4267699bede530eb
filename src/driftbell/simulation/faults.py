"""Faults that the simulator applies to rows, and the grammar that names them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import numpy as np

from driftbell.errors import ConfigError
from driftbell.phrases import join_names, suggest_name
from driftbell.records import Value

MOST_DECIMALS = 6


LARGEST_SHARE = 0.2
"""A numeric column in which one value has more of the rows than this is not jittered: that would be drift."""


GRAMMAR = (
    "a fault is shift:NAME=+3, scale:NAME=1.8, stuck:NAME, stuck:NAME=5.1, nulls:NAME, nulls:NAME=0.3 or "
    "swap:NAME,NAME; NAME may be in double quotes"
)


Row: TypeAlias = dict[str, Value]


class FaultKind(StrEnum):
    """What can happen to a feature."""

    SHIFT = "shift"
    SCALE = "scale"
    STUCK = "stuck"
    NULLS = "nulls"
    SWAP = "swap"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong with one feature.

    Attributes:
        kind: what.
        feature: its name.
        value: what is added (shift), the factor (scale), the frozen value (stuck; None for the first one
            of the run) or the share of rows that become null (nulls; None for all).
        other: the feature that it is exchanged with (swap only).
    """

    kind: FaultKind
    feature: str
    value: float | None = None
    other: str = ""

    def __str__(self) -> str:
        """Write it as `parse_fault` reads it."""
        if self.other:
            return f"{self.kind}:{_quoted(self.feature)},{_quoted(self.other)}"
        if self.value is None:
            return f"{self.kind}:{_quoted(self.feature)}"
        sign = "+" if self.kind is FaultKind.SHIFT and self.value >= 0 else ""
        return f"{self.kind}:{_quoted(self.feature)}={sign}{self.value:.15g}"


CONTRACT_FAULTS = (
    Fault(FaultKind.SHIFT, "sepal length (cm)", 2.5),
    Fault(FaultKind.SHIFT, "sepal width (cm)", -1.0),
    Fault(FaultKind.SHIFT, "petal length (cm)", 3.0),
)
"""What "drifted" means unless told otherwise."""


def parse_fault(text: str) -> Fault:
    """Read a fault.

    Raises:
        ConfigError: with the grammar.

    >>> parse_fault('shift:"petal length (cm)"=+3')
    Fault(kind=<FaultKind.SHIFT: 'shift'>, feature='petal length (cm)', value=3.0, other='')
    """
    word, _, rest = text.partition(":")
    if word.strip() not in list(FaultKind):
        raise ConfigError(f"unknown fault '{word}'{_hint(word, FaultKind)}; {GRAMMAR}")
    kind = FaultKind(word.strip())
    name = r'\s*(?:"([^"]+)"|([^"]+?))\s*'
    tail = {FaultKind.SWAP: f",{name}", FaultKind.SHIFT: "=([^=]+)", FaultKind.SCALE: "=([^=]+)"}
    found = re.fullmatch(name + tail.get(kind, "(?:=([^=]+))?"), rest)
    if not found:
        raise ConfigError(f"cannot read the fault '{text}'; {GRAMMAR}")
    feature = found[1] or found[2]
    if kind is FaultKind.SWAP:
        return Fault(kind, feature, other=found[3] or found[4])
    return Fault(kind, feature, None if found[3] is None else _value(kind, found[3].strip()))


def apply(rows: Sequence[Row], faults: Iterable[Fault], rng: np.random.Generator) -> list[Row]:
    """Give a copy of the rows with the faults in it, applied in their order.

    Raises:
        ConfigError: the rows have no such feature, or it holds no numbers to shift or scale.
    """
    changed = [dict(row) for row in rows]
    for fault in faults if changed else ():
        for name in (fault.feature, fault.other):
            if name and name not in changed[0]:
                hint = _hint(name, changed[0]) or f"; the features are {join_names(changed[0])}"
                raise ConfigError(f"fault '{fault.kind}': unknown feature '{name}'{hint}; {GRAMMAR}")
        _apply(changed, fault, rng)
    return changed


def _value(kind: FaultKind, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"fault '{kind}': '{text}' is not a number; {GRAMMAR}")
    if kind is FaultKind.NULLS and not 0 <= value <= 1:
        raise ConfigError(f"fault 'nulls': the share of rows must be from 0 to 1, got {text}; {GRAMMAR}")
    return value


def _quoted(name: str) -> str:
    return f'"{name}"' if "=" in name or "," in name or name != name.strip() else name


def _hint(word: str, names: Iterable[str]) -> str:
    question = suggest_name(word, names)
    return f": {question}" if question else ""


def _apply(rows: list[Row], fault: Fault, rng: np.random.Generator) -> None:
    cells = [row[fault.feature] for row in rows]
    value = fault.value
    match fault.kind:
        case FaultKind.SHIFT:
            cells = [v if v is None else _number(fault, v) + (value or 0.0) for v in cells]
        case FaultKind.SCALE:
            cells = [v if v is None else _number(fault, v) * (1.0 if value is None else value) for v in cells]
        case FaultKind.STUCK:
            first = next((v for v in cells if v is not None), None)
            cells = [first if value is None else value] * len(cells)
        case FaultKind.NULLS:
            null = rng.random(len(cells)) < (1.0 if value is None else value)
            cells = [None if gone else v for gone, v in zip(null, cells, strict=True)]
        case FaultKind.SWAP:
            others = [row[fault.other] for row in rows]
            for row, mine in zip(rows, cells, strict=True):
                row[fault.other] = mine
            cells = others
    for row, cell in zip(rows, cells, strict=True):
        row[fault.feature] = cell


def _number(fault: Fault, cell: Value) -> float:
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        raise ConfigError(f"fault '{fault.kind}': '{fault.feature}' holds no numbers, got {cell!r}")
    return cell
