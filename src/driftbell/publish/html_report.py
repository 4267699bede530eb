"""The HTML report: one self-contained page without scripts, readable offline, in print and on a phone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from driftbell.errors import ReportError
from driftbell.publish.charts import histogram_svg
from driftbell.publish.degradation_block import register_template_globals
from driftbell.publish.wording import VERDICT_SYMBOLS, truncate
from driftbell.records import Check, Columns, ColumnVerdict, Reference, Result, ResultKind, Verdict

MAX_BYTES = 300_000

PAGE_SIZES = ((40, 1000), (30, 600), (20, 400), (10, 200), (0, 60))
"""Columns in detail and columns in the table; the first pair that fits into `MAX_BYTES` is used."""

MAX_NAME = 80
MAX_TEXT = 500

VERDICT_ORDER = (Verdict.UNKNOWN, Verdict.WARNING, Verdict.OK)

EFFECT_SIZES = ("PSI", "Jensen–Shannon")
"""Distances of every compared column; each has its own column in the table."""


@dataclass(frozen=True, slots=True)
class HtmlReport:
    """Sink that renders a check as an HTML page; see `driftbell.ports.Sink`."""

    def write(self, check: Check, reference: Reference, window: Columns) -> bytes:
        """Render the page, at most `MAX_BYTES` bytes.

        Drifted columns come first, then the others by ascending p-value. For a wide table the last columns
        lose their details, then their table rows; the page says how many.

        Args:
            check: the check to report.
            reference: only its number of rows is used; the check contains its counts.
            window: not used; the check contains its counts.

        Raises:
            ReportError: the smallest possible page exceeds `MAX_BYTES`.
        """
        columns = sorted(check.judgement.columns, key=_report_order)
        rows = max((len(c) for c in reference.columns.values()), default=0)
        for detailed, listed in PAGE_SIZES:
            page = _render(check, columns, rows, detailed=detailed, listed=listed)
            if len(page) <= MAX_BYTES:
                return page
        raise ReportError(f"the HTML report would exceed {MAX_BYTES} bytes")


def _report_order(column: ColumnVerdict) -> tuple[bool, int, float]:
    p_value = column.adjusted_p_value
    return not column.drifted, VERDICT_ORDER.index(column.verdict), math.inf if p_value is None else p_value


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
    register_template_globals(environment)
    environment.filters |= {
        "number": _format_number,
        "p_value": _format_p_value,
        "threshold": lambda value: "–" if value is None else f"{value:.2g}",
        "value": _format_result,
        "name": lambda text: truncate(text, MAX_NAME) if text.strip() else "(no name)",
        "text": lambda text: truncate(text, MAX_TEXT),
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


def _format_result(result: Result) -> str:
    return (
        _format_p_value(result.value) if result.kind is ResultKind.P_VALUE else _format_number(result.value)
    )


def _format_p_value(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "–"
    if value < 0.0001:
        return "< 0.0001"
    return f"{value:.4f}".rstrip("0").rstrip(".")


def _format_number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.3f}" if 0.001 <= abs(value) < 10 else f"{value:.4g}"
