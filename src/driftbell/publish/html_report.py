"""The HTML report: one self-contained page without scripts, readable offline, in print and on a phone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from driftbell.degradation.metric_texts import amount_text, number_writer
from driftbell.errors import ReportError
from driftbell.phrases import count_of, format_value
from driftbell.publish.charts import histogram_svg
from driftbell.publish.degradation_block import register_template_globals
from driftbell.publish.performance_views import interval_note, metric_rows
from driftbell.publish.wording import VERDICT_SYMBOLS, truncate
from driftbell.records import (
    Check,
    Columns,
    ColumnVerdict,
    Judgement,
    Reference,
    Result,
    ResultKind,
    TablePerformance,
    Verdict,
)

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

        Drifted columns come first, by the size of their change, then the others by ascending p-value. For a
        wide table the last columns lose their details, then their table rows; the page says how many.

        Args:
            check: the check to report.
            reference: only its number of rows is used; the check contains its counts.
            window: not used; the check contains its counts.

        Raises:
            ReportError: the smallest possible page exceeds `MAX_BYTES`.
        """
        rows = max((len(c) for c in reference.columns.values()), default=0)
        numbers = f", sequence numbers {check.first} to {check.last}" if check.rows else ""
        facts = (
            ("Checked at", _format_time(check.time)),
            ("Model", f"{_name(check.model)}, version {_name(check.version)}"),
            ("Reference", f"{_name(check.reference)}, {count_of(rows, 'row')}"),
            ("Window", f"{count_of(check.rows, 'prediction')}{numbers}"),
            ("Trigger", check.kind.value),
            ("Check id", _name(check.id)),
        )
        return _fitting_page(check.judgement, facts, title=check.model, error=check.error, single=False)


def table_report(
    judgement: Judgement,
    *,
    names: tuple[str, str],
    rows: tuple[int, int],
    time: datetime,
    performance: TablePerformance | None = None,
) -> bytes:
    """Render the page about two tables, as `HtmlReport` renders a check.

    Args:
        judgement: the verdict and the columns.
        names: names of the reference and of the current table, such as their files.
        rows: their numbers of rows.
        time: when they were compared.
        performance: performance of the model on both tables.

    Raises:
        ReportError: the smallest possible page exceeds `MAX_BYTES`.
    """
    facts = (
        ("Checked at", _format_time(time.astimezone(UTC))),
        ("Reference", f"{_name(names[0])}, {count_of(rows[0], 'row')}"),
        ("Current", f"{_name(names[1])}, {count_of(rows[1], 'row')}"),
    )
    return _fitting_page(judgement, facts, title=names[1], error="", single=True, performance=performance)


def _report_order(column: ColumnVerdict) -> tuple[bool, int, float, float]:
    p_value = math.inf if column.adjusted_p_value is None else column.adjusted_p_value
    change = -column.largest_change if column.drifted else 0.0
    return not column.drifted, VERDICT_ORDER.index(column.verdict), change, p_value


def _fitting_page(
    judgement: Judgement,
    facts: Sequence[tuple[str, str]],
    *,
    title: str,
    error: str,
    single: bool,
    performance: TablePerformance | None = None,
) -> bytes:
    """Render the page with as many columns as fit into `MAX_BYTES`."""
    columns = sorted(judgement.columns, key=_report_order)
    template = template_environment().get_template("report.html.j2")
    for detailed, listed in PAGE_SIZES:
        text = template.render(
            judgement=judgement,
            facts=facts,
            title=title,
            error=error,
            single=single,
            performance=performance,
            columns=columns,
            drifted=[c for c in columns if c.drifted],
            detailed=detailed,
            listed=listed,
            effect_sizes=EFFECT_SIZES,
        )
        page = text.encode("utf-8", "replace")
        if len(page) <= MAX_BYTES:
            return page
    raise ReportError(f"the HTML report would exceed {MAX_BYTES} bytes")


def _format_time(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


def _name(text: str) -> str:
    return truncate(text, MAX_NAME) if text.strip() else "(no name)"


@cache
def template_environment() -> Environment:
    """Return the environment of the HTML templates, with their filters."""
    environment = Environment(
        loader=PackageLoader("driftbell", "publish"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "histogram": histogram_svg,
        "badge": _badge,
        "column_badge": _column_badge,
        "distance": _distance,
        "amount_text": amount_text,
        "interval_note": interval_note,
        "metric_rows": metric_rows,
    }
    register_template_globals(environment)
    environment.filters |= {
        "p_value": _format_p_value,
        "threshold": lambda value: "–" if value is None else f"{value:.2g}",
        "with_noise": _format_with_noise,
        "name": _name,
        "text": lambda text: truncate(text, MAX_TEXT),
    }
    return environment


def _badge(verdict: Verdict, *, big: bool = False, word: str = "") -> Markup:
    return Markup('<b class="{2}badge {0}"><span aria-hidden="true">{1}</span> {3}</b>').format(
        verdict.value, VERDICT_SYMBOLS[verdict], "big " if big else "", word or verdict.value
    )


def _column_badge(column: ColumnVerdict) -> Markup:
    if column.left_out:
        return Markup('<b class="badge unknown">not compared</b>')
    return _badge(column.verdict)


def _distance(column: ColumnVerdict, statistic: str) -> Result | None:
    return next(
        (r for r in column.comparison.results if r.statistic == statistic and r.kind is ResultKind.DISTANCE),
        None,
    )


def _format_result(result: Result) -> str:
    return (
        _format_p_value(result.value) if result.kind is ResultKind.P_VALUE else _format_number(result.value)
    )


def _format_with_noise(result: Result) -> tuple[str, str]:
    """Return a result and its noise, with the same number of digits; "" without noise."""
    if result.noise is None:
        return _format_result(result), ""
    sides = [math.nan if side is None else side for side in (result.value, result.noise)]
    write = number_writer(sides)
    if sides[1] >= 0.001:
        decimals = 4 if 0 < sides[0] < 0.001 else 3
        write = f"{{:.{decimals}f}}".format
    value, noise = ("–" if math.isnan(side) else write(side) for side in sides)
    return value, noise


def _format_p_value(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "–"
    if value < 0.0001:
        return "< 0.0001"
    return f"{value:.4f}".rstrip("0").rstrip(".")


def _format_number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.3f}" if 0.001 <= abs(value) < 10 else format_value(value)
