"""Views of the performance of a model on two tables: rows for documents, lines of a terminal, a table."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from driftbell.degradation.metric_texts import METRIC_NAMES, change_text, metric_texts
from driftbell.phrases import printable
from driftbell.records import TablePerformance

MAX_NOTE = 300
HEADINGS = ("performance", "reference", "current", "change")

CELL = "text-align:left;padding:.2em .8em .2em 0"


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric as text: its name, its value with the interval on both sides, and the change."""

    name: str
    reference: str
    current: str
    change: str


def metric_rows(performance: TablePerformance) -> list[MetricRow]:
    """Return one row for each metric that can be computed on one of the tables, and one for the labels."""
    rows = [
        MetricRow(METRIC_NAMES[m.name], *metric_texts(m), change_text(m))
        for m in performance.metrics
        if m.reference or m.current
    ]
    before, after = (f"{count:,}" for count in performance.labelled)
    return [*rows, MetricRow("labels", before, after, "")]


def interval_note(performance: TablePerformance) -> str:
    """Return what the ranges are, and how often an alarm is false."""
    note = "Ranges are 90 % intervals."
    return (
        f"{note} About 1 in {1 / performance.threshold:,.0f} checks without a loss, or fewer, raise an alarm."
    )


def performance_lines(performance: TablePerformance) -> list[str]:
    """Return a table for a terminal, and the notes."""
    rows = [(r.name, r.reference, r.current, r.change) for r in metric_rows(performance)]
    table = [HEADINGS, *rows]
    widths = [max(len(row[i]) for row in table) for i in range(4)]
    lines = [
        "  " + "  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
    notes = (f"  note: {printable(note, MAX_NOTE)}" for note in performance.notes)
    return [*lines, *notes, ""]


def performance_table(performance: TablePerformance) -> Markup:
    """Return a table for notebooks."""
    rows = Markup("").join(
        Markup("<tr>{}</tr>").format(
            Markup("").join(
                Markup('<td style="{}">{}</td>').format(CELL, text)
                for text in (row.name, row.reference, row.current, row.change)
            )
        )
        for row in metric_rows(performance)
    )
    head = Markup("").join(Markup('<th style="{}">{}</th>').format(CELL, name) for name in HEADINGS)
    notes = Markup("").join(
        Markup("<p>{}</p>").format(printable(note, MAX_NOTE)) for note in performance.notes
    )
    return Markup("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>{}").format(head, rows, notes)
