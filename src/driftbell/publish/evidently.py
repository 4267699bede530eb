"""Evidently's drift report, told to show our decisions: its own default tests never run."""

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
from driftbell.ports import Reference
from driftbell.publish.wording import UNKNOWN_VALUE, format_change_point, format_loss, format_metric
from driftbell.records import Check, Column, Columns, ColumnVerdict, Judgement, Kind
from driftbell.tabular.profile import NEW, NULL, RARE, ColumnLayout, layout, numbers, texts

MOST_COLUMNS = 100
"""Columns in a report: each one costs a tenth of a second and 60 kB."""

LONGEST_NAME = 60
VALUE = "(value)"
"""What a value is called in a column where only nulls are compared."""

TEST_NAMES = {
    "driftbell_numeric": "Kolmogorov–Smirnov + exceedance + nulls, adjusted p_value",
    "driftbell_categorical": "chi-square, adjusted p_value",
    "driftbell_nulls": "Fisher's exact test on nulls, adjusted p_value",
}
"""The tests as the report names them, by the name under which Evidently knows them."""

_one_at_a_time = threading.Lock()  # Evidently's registry of tests is global


def evidently_available() -> bool:
    """Tell whether Evidently is installed, without importing it."""
    return importlib.util.find_spec("evidently") is not None


def import_evidently() -> None:
    """Import Evidently, which takes seconds, so that the first report does not.

    Raises:
        ReportError: it is not installed or cannot be imported.
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
    """See `driftbell.ports.Sink`."""

    def write(self, check: Check, reference: Reference, window: Columns) -> bytes:
        """Make Evidently's page of every column that was judged.

        Each column shows our adjusted p-value, threshold and decision, and one drifted column is dataset
        drift. A column that was not judged is left out; the verdict's sentence, on top, names it. A column
        that Evidently cannot draw as numbers (no finite value on one side, say) is drawn as our bins. Of a
        wide table, only the `MOST_COLUMNS` with the lowest p-values are shown; the page says so.

        Args:
            check: what is told.
            reference: its columns are drawn.
            window: likewise.

        Raises:
            ReportError: Evidently is not installed, or fails.
        """
        import_evidently()
        try:
            with _one_at_a_time, warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                page = str(run(check, reference, window).get_html_str(as_iframe=False))
        except Exception as error:  # whatever Evidently raises, the verdict stands without it
            raise ReportError(f"Evidently failed with {type(error).__name__}") from error
        title = html.escape(f"{check.judgement.verdict.value}: drift report of {check.model}")
        return page.replace("<head>", f"<head><title>{title}</title>", 1).strip().encode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class _Drawn:
    """One column as Evidently gets it."""

    verdict: ColumnVerdict
    test: str
    numeric: bool
    reference: Any
    window: Any


def run(check: Check, reference: Reference, window: Columns) -> Any:
    """Run Evidently on the judged columns and give its snapshot.

    Args:
        check: what was decided.
        reference: n rows.
        window: m rows.
    """
    from evidently import Report

    judged = [(c.adjusted_p_value, c) for c in check.judgement.columns if c.adjusted_p_value is not None]
    first = [c for _, c in sorted(judged, key=lambda found: found[0])][:MOST_COLUMNS]
    names = _shown_names(c.column for c in first)
    columns = {names[c.column]: _drawn(c, reference.columns[c.column], window[c.column]) for c in first}
    _register(columns)
    left_out = len(judged) - len(first)
    report = Report([_preset_class()(heading=_heading(check, left_out), drawn=columns)], include_tests=True)
    return report.run(
        _dataset(columns, lambda c: c.window),
        _dataset(columns, lambda c: c.reference),
        timestamp=check.time,
        name=check.judgement.sentence,
        metadata={"model": check.model, "version": check.version, "verdict": check.judgement.verdict.value},
    )


def _dataset(columns: dict[str, _Drawn], side: Callable[[_Drawn], Any]) -> Any:
    import pandas as pd
    from evidently import DataDefinition, Dataset

    definition = DataDefinition(
        numerical_columns=[n for n, c in columns.items() if c.numeric],
        categorical_columns=[n for n, c in columns.items() if not c.numeric],
    )
    return Dataset.from_pandas(pd.DataFrame({n: side(c) for n, c in columns.items()}), definition)


def _drawn(verdict: ColumnVerdict, reference: Column, window: Column) -> _Drawn:
    on = layout({verdict.column: reference})[verdict.column]
    if on.kind is Kind.NUMERIC:
        old, new = _finite(reference), _finite(window)
        if _has_histogram(old, new):
            return _Drawn(verdict, "driftbell_numeric", True, old, new)
        return _Drawn(verdict, "driftbell_numeric", False, _bar_names(reference, on), _bar_names(window, on))
    test = "driftbell_categorical" if on.comparable else "driftbell_nulls"
    return _Drawn(verdict, test, False, _category_names(reference, on), _category_names(window, on))


def _finite(column: Column) -> Column:
    values = numbers(column)
    return np.where(np.isfinite(values), values, np.nan)


def _has_histogram(old: Column, new: Column) -> bool:
    """Try what Evidently will do; numpy refuses no values, too large and too narrow ranges."""
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
    shown = _shown_names(on.categories)
    cells = []
    for text in texts(column):
        if text is None:
            cells.append(NULL)
        elif not on.comparable:
            cells.append(VALUE)
        else:
            cells.append(shown.get(text) or (RARE if text in on.rare else NEW))
    return np.array(cells, dtype=object)


def _shown_names(names: Iterable[str]) -> dict[str, str]:
    """Make names that are harmless, short and different."""
    shown: dict[str, str] = {}
    taken = set()
    for name in names:
        safe = _safe(name)
        short = safe if len(safe) <= LONGEST_NAME else f"{safe[: LONGEST_NAME - 1]}…"
        short = short.strip() or "(no name)"
        unique, copies = short, 1
        while unique in taken:
            copies += 1
            unique = f"{short} ({copies})"
        taken.add(unique)
        shown[name] = unique
    return shown


def _register(columns: dict[str, _Drawn]) -> None:
    """Make our decisions known as Evidently's tests, in place of those of the report before."""
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
    """Make the preset's class when it is needed, because its base is Evidently's."""
    from evidently.legacy.renderers.html_widgets import CounterData, counter
    from evidently.presets import DataDriftPreset

    class DriftbellPreset(DataDriftPreset):  # type: ignore[misc]
        """Evidently's drift preset under our verdict, with the drifted columns first."""

        class Config:
            type_alias = "driftbell:metric_container:DriftbellPreset"

        heading: list[list[tuple[str, str]]]

        def __init__(self, heading: list[list[tuple[str, str]]], drawn: dict[str, _Drawn]) -> None:
            self.heading = heading
            super().__init__(
                columns=list(drawn),
                drift_share=10.0 ** -len(str(len(drawn))),  # below one column's share, and short to read
                per_column_method={n: c.test for n, c in drawn.items()},
                per_column_threshold={n: c.verdict.threshold for n, c in drawn.items()},
            )

        def generate_metrics(self, context: Any) -> Sequence[Any]:
            return list(super().generate_metrics(context)) if self.columns else []

        def render(self, context: Any, child_widgets: Any = None) -> list[Any]:
            top = [
                counter(counters=[CounterData(label, value) for value, label in row]) for row in self.heading
            ]
            found = super().render(context, child_widgets) if self.columns else []
            for widget in found:
                if widget.type == "big_table":  # Evidently puts the largest p-value first
                    widget.params["data"] = widget.params["data"][::-1]
            return [*top, *found]

    return DriftbellPreset


def _heading(check: Check, left_out: int) -> list[list[tuple[str, str]]]:
    """Say what Evidently does not, in rows of (large, small) text."""
    facts = [
        (check.judgement.verdict.value, "verdict"),
        (check.model, "model"),
        (check.version, "version"),
        (f"{check.rows}", "predictions"),
        (f"{check.time:%Y-%m-%d %H:%M:%S} UTC", "checked at"),
    ]
    rows = [[("", check.judgement.sentence)], facts, *_degradation_heading(check.judgement)]
    if left_out:
        small = (
            f"{left_out} more columns, those with the largest p-values, are left out to keep this page small."
        )
        rows.append([("", small)])
    return [[(_safe(large), _safe(small)) for large, small in row] for row in rows]


def _degradation_heading(judgement: Judgement) -> list[list[tuple[str, str]]]:
    """Answer "does the model do worse?", of which Evidently knows nothing."""
    degradation = judgement.degradation
    if degradation is None:
        return []
    facts = [
        (degradation.verdict.value, "does the model do worse?"),
        (format_loss(degradation), "estimated loss"),
    ]
    if degradation.change_point:
        facts.append((format_change_point(degradation), "since"))
    rows = [facts] if degradation.sentence in judgement.sentence else [[("", degradation.sentence)], facts]
    found = degradation.performance
    if found:
        known = {
            "on the reference": found.reference,
            "estimated": found.estimated.value if found.estimated else None,
            "realized": found.realized.value if found.realized else None,
        }
        rows.append(
            [
                (UNKNOWN_VALUE if v is None else format_metric(v, found.metric), f"{found.metric}, {name}")
                for name, v in known.items()
            ]
        )
    return rows


def _safe(text: str) -> str:
    """Make text harmless: it goes into a script as it is, and a chart takes it as markup."""
    return text.encode("utf-8", "replace").decode().replace("<", "‹").replace(">", "›")
