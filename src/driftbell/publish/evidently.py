"""Sink that renders Evidently's drift report with our p-values and decisions in place of its own tests."""

from __future__ import annotations

import html
import importlib.util
import os
import threading
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from driftbell.errors import ReportError
from driftbell.publish.measured_metrics import chosen_rows, older_rows
from driftbell.publish.wording import (
    UNKNOWN_VALUE,
    format_change_point,
    format_daily_cost,
    format_loss,
    metric_writer,
    verdict_answer,
)
from driftbell.records import Check, Column, Columns, ColumnVerdict, Judgement, Kind, Reference
from driftbell.tabular.cells import objects
from driftbell.tabular.profile import NEW, NULL, RARE, ColumnLayout, layout, numbers, texts

MAX_COLUMNS = 100
"""Columns in a report; each one costs a tenth of a second and 60 kB."""

MAX_NAME = 60
VALUE = "(value)"
"""Label of every value in a column of which only the nulls are compared."""

TEST_NAMES = {
    "driftbell_numeric": "Kolmogorov–Smirnov + exceedance + nulls, adjusted p_value",
    "driftbell_categorical": "chi-square, adjusted p_value",
    "driftbell_nulls": "Fisher's exact test on nulls, adjusted p_value",
}
"""Display name of each test by the name that it is registered under in Evidently."""

VIEWPORT = 'content="width=device-width, initial-scale=1.0"', 'content="width=1100"'
"""Evidently's layout needs about 1100 pixels: narrow screens scale the page down instead of clipping it."""

_registry_lock = threading.Lock()  # Evidently's registry of tests is global


def evidently_available() -> bool:
    """Return whether Evidently is installed, without importing it."""
    return importlib.util.find_spec("evidently") is not None


def import_evidently() -> None:
    """Import Evidently ahead of the first report; the import takes seconds.

    Raises:
        ReportError: Evidently is not installed or cannot be imported.
    """
    os.environ["DO_NOT_TRACK"] = "1"
    os.environ["ITERATIVE_DO_NOT_TRACK"] = "1"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import evidently.presets  # noqa: F401
    except ImportError as error:
        raise ReportError(f"Evidently cannot be imported: {error}") from error


class EvidentlyReport:
    """Sink that renders a check with Evidently; see `driftbell.ports.Sink`."""

    def write(self, check: Check, reference: Reference, window: Columns) -> bytes:
        """Render Evidently's page of all compared columns.

        Each column shows our adjusted p-value, threshold and decision; one drifted column counts as dataset
        drift. A column that was not compared is omitted; the sentence at the top names it. A column that
        Evidently cannot draw as numbers (for example without a finite value on one side) is drawn as our
        bins. A wide table is limited to the `MAX_COLUMNS` columns with the lowest p-values; the page states
        this.

        Args:
            check: the check to report.
            reference: columns of the reference, n rows.
            window: columns of the window, m rows.

        Raises:
            ReportError: Evidently is not installed, or fails.
        """
        import_evidently()
        try:
            with _registry_lock, warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                page = str(build_snapshot(check, reference, window).get_html_str(as_iframe=False))
        except Exception as error:  # Evidently may raise anything; the check is saved without its report
            raise ReportError(f"Evidently failed with {type(error).__name__}") from error
        title = html.escape(f"{check.judgement.verdict.value}: drift report of {check.model}")
        page = page.replace("<head>", f"<head><title>{title}</title>", 1).replace(*VIEWPORT, 1)
        return page.strip().encode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class _ReportColumn:
    """One column as it is passed to Evidently."""

    verdict: ColumnVerdict
    test: str
    numeric: bool
    reference: Any
    window: Any


def build_snapshot(check: Check, reference: Reference, window: Columns) -> Any:
    """Run Evidently on the compared columns and return its snapshot.

    Args:
        check: our p-values and decisions.
        reference: columns of the reference, n rows.
        window: columns of the window, m rows.
    """
    from evidently import Report

    compared = [(c.adjusted_p_value, c) for c in check.judgement.columns if c.adjusted_p_value is not None]
    first = [c for _, c in sorted(compared, key=lambda pair: pair[0])][:MAX_COLUMNS]
    names = _display_names(c.column for c in first)
    columns = {
        names[c.column]: _report_column(c, reference.columns[c.column], window[c.column]) for c in first
    }
    _register_tests(columns)
    omitted = len(compared) - len(first)
    preset = _preset_class()(heading=_heading(check, omitted), columns=columns)
    report = Report([preset], include_tests=True)
    return report.run(
        _dataset(columns, lambda c: c.window),
        _dataset(columns, lambda c: c.reference),
        timestamp=check.time,
        name=check.judgement.sentence,
        metadata={"model": check.model, "version": check.version, "verdict": check.judgement.verdict.value},
    )


def _dataset(columns: dict[str, _ReportColumn], side: Callable[[_ReportColumn], Any]) -> Any:
    import pandas as pd
    from evidently import DataDefinition, Dataset

    definition = DataDefinition(
        numerical_columns=[n for n, c in columns.items() if c.numeric],
        categorical_columns=[n for n, c in columns.items() if not c.numeric],
    )
    return Dataset.from_pandas(pd.DataFrame({n: side(c) for n, c in columns.items()}), definition)


def _report_column(verdict: ColumnVerdict, reference: Column, window: Column) -> _ReportColumn:
    if verdict.comparison.kind is Kind.CATEGORICAL and reference.dtype.kind == "f":
        reference, window = objects(texts(reference)), objects(texts(window))
    on = layout({verdict.column: reference})[verdict.column]
    if on.kind is Kind.NUMERIC:
        old, new = _finite(reference), _finite(window)
        if _has_histogram(old, new):
            return _ReportColumn(verdict, "driftbell_numeric", True, old, new)
        return _ReportColumn(
            verdict, "driftbell_numeric", False, _bar_names(reference, on), _bar_names(window, on)
        )
    test = "driftbell_categorical" if on.comparable else "driftbell_nulls"
    return _ReportColumn(verdict, test, False, _category_names(reference, on), _category_names(window, on))


def _finite(column: Column) -> Column:
    values = numbers(column)
    return np.where(np.isfinite(values), values, np.nan)


def _has_histogram(old: Column, new: Column) -> bool:
    """Return whether Evidently can draw both sides: numpy refuses empty, too large and too narrow ranges."""
    a, b = old[~np.isnan(old)], new[~np.isnan(new)]
    if not len(a) or not len(b):
        return False
    try:
        for values in (a, b, np.concatenate([a, b])):
            np.histogram(values, bins=10)
            np.histogram_bin_edges(values, bins="doane")
    except (ValueError, OverflowError, MemoryError):
        return False
    return bool(np.isfinite([a.std(), b.std(), a.sum(), b.sum()]).all())


def _bar_names(column: Column, on: ColumnLayout) -> Column:
    values = numbers(column)
    bars = np.searchsorted(np.array(on.bars), values, side="left")
    labels = [NULL if np.isnan(v) else on.labels[i] for v, i in zip(values, bars, strict=True)]
    return np.array(labels, dtype=object)


def _category_names(column: Column, on: ColumnLayout) -> Column:
    display_names = _display_names(on.categories)
    cells = []
    for text in texts(column):
        if text is None:
            cells.append(NULL)
        elif not on.comparable:
            cells.append(VALUE)
        else:
            cells.append(display_names.get(text) or (RARE if text in on.rare else NEW))
    return np.array(cells, dtype=object)


def _display_names(names: Iterable[str]) -> dict[str, str]:
    """Map each name to a safe, short and unique display name."""
    display_names: dict[str, str] = {}
    taken = set()
    for name in names:
        safe = _safe(name)
        short = safe if len(safe) <= MAX_NAME else f"{safe[: MAX_NAME - 1]}…"
        short = short.strip() or "(no name)"
        unique, copies = short, 1
        while unique in taken:
            copies += 1
            unique = f"{short} ({copies})"
        taken.add(unique)
        display_names[name] = unique
    return display_names


def _register_tests(columns: dict[str, _ReportColumn]) -> None:
    """Register our decisions as Evidently's tests; they replace those of the previous report."""
    from evidently.legacy.calculation_engine.python_engine import PythonEngine
    from evidently.legacy.calculations.stattests import StatTest
    from evidently.legacy.calculations.stattests.registry import (
        add_stattest_impl,
        create_impl_wrapper,
        register_stattest,
    )
    from evidently.legacy.core import ColumnType

    def decision(reference: Any, _window: Any, _kind: Any, _threshold: float) -> tuple[float, bool]:
        verdict = columns[reference.name].verdict
        return float(verdict.adjusted_p_value or 0.0), verdict.drifted

    for name, display_name in TEST_NAMES.items():
        test = StatTest(name, display_name, [ColumnType.Numerical, ColumnType.Categorical])
        register_stattest(test)
        add_stattest_impl(test, PythonEngine, create_impl_wrapper(decision))


@cache
def _preset_class() -> Any:
    """Return the preset class, defined on first use because its base class is Evidently's."""
    from evidently.legacy.renderers.html_widgets import CounterData, counter
    from evidently.presets import DataDriftPreset

    class DriftbellPreset(DataDriftPreset):  # type: ignore[misc]
        """Evidently's drift preset below our heading, with the drifted columns first."""

        class Config:
            type_alias = "driftbell:metric_container:DriftbellPreset"

        heading: list[list[tuple[str, str]]]

        def __init__(self, heading: list[list[tuple[str, str]]], columns: dict[str, _ReportColumn]) -> None:
            self.heading = heading
            super().__init__(
                columns=list(columns),
                drift_share=10.0 ** -len(str(len(columns))),  # below one column's share, and short to read
                per_column_method={n: c.test for n, c in columns.items()},
                per_column_threshold={n: c.verdict.threshold for n, c in columns.items()},
            )

        def generate_metrics(self, context: Any) -> Sequence[Any]:
            return list(super().generate_metrics(context)) if self.columns else []

        def render(self, context: Any, child_widgets: Any = None) -> list[Any]:
            top = [
                counter(counters=[CounterData(label, value) for value, label in row]) for row in self.heading
            ]
            widgets = super().render(context, child_widgets) if self.columns else []
            for widget in widgets:
                if widget.type == "big_table":  # Evidently sorts by descending p-value
                    widget.params["data"] = widget.params["data"][::-1]
            return [*top, *widgets]

    return DriftbellPreset


def _heading(check: Check, omitted: int) -> list[list[tuple[str, str]]]:
    """Return the facts that Evidently's own page lacks, as rows of (large text, small text)."""
    rows = [
        [("", check.judgement.sentence)],
        [(check.judgement.verdict.value, "verdict"), (check.model, "model"), (check.version, "version")],
        [(f"{check.rows:,}", "predictions"), (f"{check.time:%Y-%m-%d %H:%M:%S} UTC", "checked at")],
        *_degradation_heading(check.judgement),
    ]
    if omitted:
        small = f"{omitted} columns with the largest p-values are not shown, to keep this page small."
        rows.append([("", small)])
    return [[(_safe(large), _safe(small)) for large, small in row] for row in rows]


def _degradation_heading(judgement: Judgement) -> list[list[tuple[str, str]]]:
    """Return the rows about degradation; none where it was not estimated."""
    degradation = judgement.degradation
    if degradation is None:
        return []
    facts = [
        (verdict_answer(degradation), "does the model perform worse?"),
        _split_interval(format_loss(degradation), "estimated loss"),
    ]
    if degradation.daily_cost:
        facts.append(_split_interval(format_daily_cost(degradation.daily_cost), "cost"))
    if degradation.change_point:
        facts.append(_split_interval(format_change_point(degradation), "change point"))
    rows = [facts] if degradation.sentence in judgement.sentence else [[("", degradation.sentence)], facts]
    performance = degradation.performance
    if performance:
        metric, write = performance.metric, metric_writer(performance)
        realized = (
            "realized, newest labels",
            older_rows(judgement.metrics),
            chosen_rows(performance, judgement.metrics),
        )
        values = {
            "on the reference": performance.reference,
            "estimated, newest rows": performance.estimated.value if performance.estimated else None,
            ", ".join(filter(None, realized)): performance.realized.value if performance.realized else None,
        }
        rows.append(
            [
                (UNKNOWN_VALUE if value is None else write(value), f"{metric}, {name}")
                for name, value in values.items()
            ]
        )
    return rows


def _split_interval(text: str, label: str) -> tuple[str, str]:
    """Return the value as large text, and the label with the interval as small text."""
    value, _, interval = text.partition(" (")
    return value, f"{label} ({interval}" if interval else label


def _safe(text: str) -> str:
    """Replace angle brackets: Evidently embeds text in a script, and its charts interpret it as markup."""
    return text.encode("utf-8", "replace").decode().replace("<", "‹").replace(">", "›")
