"""driftbell's own report: one HTML page without script that works offline, on paper and on a phone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from driftbell.errors import ReportError
from driftbell.ports import Reference
from driftbell.publish import wording as words
from driftbell.publish.charts import histogram_svg
from driftbell.publish.wording import VERDICT_SYMBOLS
from driftbell.records import Check, Columns, ColumnVerdict, Result, ResultKind, Verdict

LARGEST = 300_000
"""No report has more bytes."""

SIZES = ((40, 1000), (30, 600), (20, 400), (10, 200), (0, 60))
"""Columns in detail and columns in the table: the first pair that makes a page small enough is taken."""

LONGEST_NAME = 80
LONGEST_TEXT = 500

ORDER = (Verdict.UNKNOWN, Verdict.WARNING, Verdict.OK)

EFFECT_SIZES = ("PSI", "Jensen–Shannon")
"""Distances that every compared column has; they get columns of their own in the table."""


@dataclass(frozen=True, slots=True)
class HtmlReport:
    """See `driftbell.ports.Sink`."""

    def write(self, check: Check, reference: Reference, window: Columns) -> bytes:
        """Make the page, at most `LARGEST` bytes.

        The columns that drifted come first, then those with the lowest p-values. A table with too many
        columns for a page of that size loses details, then rows, of the last ones; the page says so.

        Args:
            check: what is told.
            reference: only its number of rows is read; its counts are in the check.
            window: not read, likewise.

        Raises:
            ReportError: the page cannot be made that small.
        """
        columns = sorted(check.judgement.columns, key=_urgency)
        rows = max((len(c) for c in reference.columns.values()), default=0)
        for detailed, listed in SIZES:
            page = _render(check, columns, rows, detailed=detailed, listed=listed)
            if len(page) <= LARGEST:
                return page
        raise ReportError(f"the report would be larger than {LARGEST} bytes")


def _urgency(column: ColumnVerdict) -> tuple[bool, int, float]:
    p_value = column.adjusted_p_value
    return not column.drifted, ORDER.index(column.verdict), math.inf if p_value is None else p_value


def _render(
    check: Check, columns: Sequence[ColumnVerdict], reference_rows: int, *, detailed: int, listed: int
) -> bytes:
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            check=check,
            columns=columns,
            drifted=[c for c in columns if c.drifted],
            reference_rows=reference_rows,
            detailed=detailed,
            listed=listed,
            effect_sizes=EFFECT_SIZES,
        )
    )
    return page.encode("utf-8", "replace")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("driftbell", "publish"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"histogram": histogram_svg, "badge": _badge, "distance": _distance}
    words.register_template_globals(environment)
    environment.filters |= {
        "number": _number,
        "p_value": _p_value,
        "threshold": lambda value: "–" if value is None else f"{value:.2g}",
        "value": _value,
        "name": lambda text: _cut(text, LONGEST_NAME) if text.strip() else "(no name)",
        "text": lambda text: _cut(text, LONGEST_TEXT),
    }
    return environment


def _badge(verdict: Verdict, *, big: bool = False) -> Markup:
    return Markup('<b class="{2}badge {0}"><span aria-hidden="true">{1}</span> {0}</b>').format(
        verdict.value, VERDICT_SYMBOLS[verdict], "big " if big else ""
    )


def _distance(column: ColumnVerdict, statistic: str) -> Result | None:
    return next(
        (r for r in column.comparison.results if r.statistic == statistic and r.kind is ResultKind.DISTANCE),
        None,
    )


def _value(result: Result) -> str:
    return _p_value(result.value) if result.kind is ResultKind.P_VALUE else _number(result.value)


def _p_value(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "–"
    if value < 0.0001:
        return "< 0.0001"
    return f"{value:.4f}".rstrip("0").rstrip(".")


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.3f}" if 0.001 <= abs(value) < 10 else f"{value:.4g}"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
