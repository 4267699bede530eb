"""Faults that the simulator applies to rows, and their grammar."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TypeAlias

import numpy as np

from driftbell.errors import ConfigError
from driftbell.phrases import join_names, suggest_name
from driftbell.records import Value

GRAMMAR = (
    "a fault is shift:NAME=+3, scale:NAME=1.8, stuck:NAME, stuck:NAME=5.1 (or a category), nulls:NAME, "
    "nulls:NAME=0.3 or swap:NAME,NAME; NAME may be in double quotes"
)

MAX_CHECKED_ROWS = 1000
"""Rows on which faults are checked before they are applied to all."""

Row: TypeAlias = dict[str, Value]


class FaultKind(StrEnum):
    """Kind of change of a feature."""

    SHIFT = "shift"
    SCALE = "scale"
    STUCK = "stuck"
    NULLS = "nulls"
    SWAP = "swap"


@dataclass(frozen=True, slots=True)
class Fault:
    """Fault of one feature.

    Attributes:
        kind: the kind of change.
        feature: name of the feature.
        value: the summand (shift), the factor (scale), the frozen value (stuck: a number or text; None for
            the first value of the run) or the share of rows that become null (nulls; None for all).
        other: name of the feature that it is swapped with (swap only).
    """

    kind: FaultKind
    feature: str
    value: float | str | None = None
    other: str = ""

    def __str__(self) -> str:
        """Format the fault in the grammar of `parse_fault`."""
        if self.other:
            return f"{self.kind}:{_quoted(self.feature)},{_quoted(self.other)}"
        if self.value is None:
            return f"{self.kind}:{_quoted(self.feature)}"
        if isinstance(self.value, str):
            return f"{self.kind}:{_quoted(self.feature)}={self.value}"
        sign = "+" if self.kind is FaultKind.SHIFT and self.value >= 0 else ""
        return f"{self.kind}:{_quoted(self.feature)}={sign}{self.value:.15g}"


CONTRACT_FAULTS = (
    Fault(FaultKind.SHIFT, "sepal length (cm)", 2.5),
    Fault(FaultKind.SHIFT, "sepal width (cm)", -1.0),
    Fault(FaultKind.SHIFT, "petal length (cm)", 3.0),
)
"""Default faults of the drifted half of the traffic."""


def parse_fault(text: str) -> Fault:
    """Parse a fault.

    Raises:
        ConfigError: the text is not a fault; the message contains the grammar.

    >>> parse_fault('shift:"petal length (cm)"=+3')
    Fault(kind=<FaultKind.SHIFT: 'shift'>, feature='petal length (cm)', value=3.0, other='')
    """
    word, _, rest = text.partition(":")
    if word.strip() not in list(FaultKind):
        raise ConfigError(f"unknown fault '{word}'{_hint(word, FaultKind)}; {GRAMMAR}")
    kind = FaultKind(word.strip())
    name = r'\s*(?:"([^"]+)"|([^"]+?))\s*'
    tail = {FaultKind.SWAP: f",{name}", FaultKind.SHIFT: "=([^=]+)", FaultKind.SCALE: "=([^=]+)"}
    match = re.fullmatch(name + tail.get(kind, "(?:=([^=]+))?"), rest)
    if not match:
        raise ConfigError(f"cannot read the fault '{text}'; {GRAMMAR}")
    feature = match[1] or match[2]
    if kind is FaultKind.SWAP:
        return Fault(kind, feature, other=match[3] or match[4])
    return Fault(kind, feature, None if match[3] is None else _parse_value(kind, match[3].strip()))


def parse_faults(texts: Iterable[str]) -> list[Fault]:
    """Parse faults.

    Raises:
        ConfigError: texts that are no fault; the message has the problem of each, and the grammar.

    >>> [str(fault) for fault in parse_faults(["shift:age=3", "stuck:age"])]
    ['shift:age=+3', 'stuck:age']
    """
    texts = list(texts)
    _raise_problems(partial(parse_fault, text) for text in texts)
    return [parse_fault(text) for text in texts]


def check_faults(rows: Sequence[Row], faults: Iterable[Fault]) -> None:
    """Check that faults can be applied to rows, each alone.

    Raises:
        ConfigError: faults that cannot; the message has the problem of each, and the grammar.
    """
    rng = np.random.default_rng(0)
    _raise_problems(partial(apply_faults, rows[:MAX_CHECKED_ROWS], [fault], rng) for fault in faults)


def _raise_problems(calls: Iterable[Callable[[], object]]) -> None:
    """Call functions, and raise their errors about faults as one."""
    problems = [problem for call in calls if (problem := _problem(call))]
    if problems:
        raise ConfigError("; ".join([*dict.fromkeys(problems), GRAMMAR]))


def _problem(call: Callable[[], object]) -> str:
    """Return the error of a function without the grammar; "" if there is none."""
    try:
        call()
    except ConfigError as error:
        return str(error).removesuffix(f"; {GRAMMAR}")
    return ""


def apply_faults(rows: Sequence[Row], faults: Iterable[Fault], rng: np.random.Generator) -> list[Row]:
    """Return a copy of the rows with the faults applied in order.

    Raises:
        ConfigError: the rows have no such feature, or its values are not numbers to shift or scale.
    """
    changed = [dict(row) for row in rows]
    for fault in faults if changed else ():
        unknown = [name for name in (fault.feature, fault.other) if name and name not in changed[0]]
        if unknown:
            raise ConfigError(f"fault '{fault}': {_unknown_text(unknown, changed[0])}; {GRAMMAR}")
        _apply_fault(changed, fault, rng)
    return changed


def _parse_value(kind: FaultKind, text: str) -> float | str:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if kind is FaultKind.STUCK and (not math.isfinite(value) or f"{value:.15g}" != text):
        return text  # a category such as 01067, or a number, which the column decides
    if not math.isfinite(value):
        raise ConfigError(f"fault '{kind}': '{text}' is not a number; {GRAMMAR}")
    if kind is FaultKind.NULLS and not 0 <= value <= 1:
        raise ConfigError(f"fault 'nulls': the share of rows must be from 0 to 1, got {text}; {GRAMMAR}")
    return value


def _unknown_text(unknown: Sequence[str], names: Iterable[str]) -> str:
    names = list(names)
    hints = [f"unknown feature '{name}'{_hint(name, names)}" for name in unknown]
    listed = "" if all(_hint(name, names) for name in unknown) else f"; the features are {join_names(names)}"
    return f"{' and '.join(hints)}{listed}"


def _quoted(name: str) -> str:
    return f'"{name}"' if "=" in name or "," in name or name != name.strip() else name


def _hint(word: str, names: Iterable[str]) -> str:
    question = suggest_name(word, names)
    return f": {question}" if question else ""


def _apply_fault(rows: list[Row], fault: Fault, rng: np.random.Generator) -> None:
    cells = [row[fault.feature] for row in rows]
    value = None if isinstance(fault.value, str) else fault.value
    match fault.kind:
        case FaultKind.SHIFT:
            cells = [v if v is None else _number(fault, v) + (value or 0.0) for v in cells]
        case FaultKind.SCALE:
            cells = [v if v is None else _number(fault, v) * (1.0 if value is None else value) for v in cells]
        case FaultKind.STUCK:
            cells = [frozen_value(fault, rows)] * len(cells)
        case FaultKind.NULLS:
            null = rng.random(len(cells)) < (1.0 if value is None else value)
            cells = [None if is_null else v for is_null, v in zip(null, cells, strict=True)]
        case FaultKind.SWAP:
            others = [row[fault.other] for row in rows]
            for row, cell in zip(rows, cells, strict=True):
                row[fault.other] = cell
            cells = others
    for row, cell in zip(rows, cells, strict=True):
        row[fault.feature] = cell


def frozen_value(fault: Fault, rows: Sequence[Row]) -> Value:
    """Return the value at which a feature is frozen, in the type of its values.

    Raises:
        ConfigError: a feature with numbers or booleans cannot have the fault's value.
    """
    first = next((row[fault.feature] for row in rows if row[fault.feature] is not None), None)
    if fault.value is None:
        return first
    text = fault.value if isinstance(fault.value, str) else f"{fault.value:.15g}"
    if isinstance(first, str):
        return text
    if isinstance(first, bool):
        if text.lower() not in ("true", "false"):
            raise ConfigError(f"fault 'stuck': '{fault.feature}' is true or false, got '{text}'; {GRAMMAR}")
        return text.lower() == "true"
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"fault 'stuck': '{fault.feature}' holds numbers, and '{text}' is none; {GRAMMAR}")
    return value


def _number(fault: Fault, cell: Value) -> float:
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        raise ConfigError(f"fault '{fault.kind}': '{fault.feature}' must hold numbers, got {cell!r}")
    return cell
