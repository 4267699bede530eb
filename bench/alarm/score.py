"""Scores of the outcomes: false alarms, detected degradation, delays, areas under the curve."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

Row = dict[str, Any]
WITHIN = 20
HEADS = (
    "false alarms per 1,000 unchanged checks",
    "of those, reopened",
    "false alarms per 1,000 under a season",
    f"costly detected within {WITHIN}",
    f"mean delay, windows ({WITHIN + 1} = missed)",
    "harmless alarmed",
    "AUC costly / harmless",
    "natural: costly / benign windows alarmed",
    "a check, ms CPU",
    "fit, s",
)


def table(rows: Iterable[Row], mode: str) -> list[str]:
    """Return a Markdown table with one line for each method, in their order."""
    rows = [row for row in rows if row["mode"] == mode]
    lines = ["| | runs | " + " | ".join(HEADS) + " |", "| --- " * (len(HEADS) + 2) + "|"]
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method]
        good = [row for row in mine if not row["problem"]]
        if good:
            lines.append(f"| {method} | {len(good)} | " + " | ".join(cells(good, mode)) + " |")
        else:
            problems = sorted({row["problem"] for row in mine})
            lines.append(f"| {method} | 0 | {'; '.join(problems)[:200]} " + "| " * len(HEADS))
    return lines


def cells(rows: list[Row], mode: str) -> list[str]:
    """Return the cells of one method, in the order of `HEADS`."""
    quiet = [row["alarms"][: row["change"]] for row in rows if row["scenario"] not in ("season", "natural")]
    season = [row["alarms"] for row in rows if row["scenario"] == "season"]
    changed = [row for row in rows if row["change"] is not None and seen(row, mode)]
    harmful = [row for row in changed if row["harmful"] is True]
    harmless = [row for row in changed if row["harmful"] is False]
    delays = [delay(row) for row in harmful]
    return [
        per_mille(quiet, sum),
        per_mille(quiet, openings),
        per_mille(season, sum),
        percent([d <= WITHIN for d in delays]),
        f"{np.mean(delays):.1f}" if delays else "–",
        percent([delay(row) <= WITHIN for row in harmless]),
        area([peak(row) for row in harmful], [peak(row) for row in harmless]),
        " / ".join(percent(natural(rows, degradation)) for degradation in (True, False)),
        f"{np.median([row['cpu_ms'] for row in rows]):.1f}",
        f"{np.median([row['fit_s'] for row in rows]):.2f}",
    ]


def seen(row: Row, mode: str) -> bool:
    """Return whether a change is detectable: concept drift is not, without labels."""
    return mode != "none" or row["scenario"] != "concept"


def openings(alarms: list[int]) -> int:
    """Return how often an alarm opens."""
    return sum(b > a for a, b in zip([0, *alarms], alarms, strict=False))


def delay(row: Row) -> int:
    """Return the windows from the change to the first alarm; one more than all for a miss."""
    after = row["alarms"][row["change"] :][:WITHIN]
    return after.index(1) + 1 if 1 in after else WITHIN + 1


def peak(row: Row) -> float:
    """Return the largest score after the change."""
    return float(np.max(row["scores"][row["change"] :][:WITHIN]))


def natural(rows: list[Row], degradation: bool) -> list[bool]:
    """Return the alarms in costly, or benign, windows of natural streams."""
    return [
        bool(alarm)
        for row in rows
        if row["scenario"] == "natural"
        for alarm, judged in zip(row["alarms"], row["window_harmful"], strict=False)
        if judged is degradation
    ]


def area(high: list[float], low: list[float]) -> str:
    """Return the probability that a costly change has the higher score; ties count half."""
    if not high or not low:
        return "–"
    above = np.sign(np.subtract.outer(np.array(high), np.array(low)))
    return f"{(above.mean() + 1) / 2:.3f}"


def percent(hits: list[bool]) -> str:
    """Format a share with its total."""
    return f"{np.mean(hits):.0%} of {len(hits)}" if hits else "–"


def per_mille(runs: list[list[int]], count: Callable[[list[int]], int]) -> str:
    """Format a count per 1,000 checks."""
    checks = sum(len(run) for run in runs)
    return f"{1000 * sum(count(run) for run in runs) / checks:.1f} of {checks:,}" if checks else "–"


def by_scenario(rows: Iterable[Row], method: str) -> list[str]:
    """Return a table of one method by scenario and mode."""
    rows = [row for row in rows if row["method"] == method and not row["problem"]]
    modes = list(dict.fromkeys(row["mode"] for row in rows))
    lines = [
        "| scenario | " + " | ".join(f"{m}: costly detected | {m}: harmless alarmed" for m in modes) + " |"
    ]
    lines.append("| --- " * (2 * len(modes) + 1) + "|")
    for name in dict.fromkeys(row["scenario"] for row in rows if row["change"] is not None):
        results = [
            percent([d <= WITHIN for d in delays(rows, name, mode, degradation)])
            for mode in modes
            for degradation in (True, False)
        ]
        lines.append(f"| {name} | " + " | ".join(results) + " |")
    return lines


def delays(rows: list[Row], name: str, mode: str, degradation: bool) -> list[int]:
    """Return the delays in the runs of one scenario."""
    return [
        delay(row)
        for row in rows
        if (row["scenario"], row["mode"], row["harmful"]) == (name, mode, degradation)
        and row["change"] is not None
    ]
