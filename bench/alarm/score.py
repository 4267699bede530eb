"""Scores of the outcomes: false alarms, detected degradation, delays, areas under the curve."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from alarm.changes import OLD_THEN_NEW
from alarm.methods import MODES

Row = dict[str, Any]
WITHIN = 20
FROM_CHECK = 4
"""Index of the first check after a change whose interval is compared with the true loss: the fifth."""

LARGE, LARGE_RELATIVE = 0.05, 0.25
"""A large loss of accuracy, and of a regression relative to its error on the reference."""
HEADS = (
    "false alarms per 1,000 unchanged checks",
    "of those, reopened",
    "false alarms per 1,000 under a season",
    "costly detected within {most}",
    "mean delay, windows ({missed} = missed)",
    "cannot tell counted as half",
    "silent no at a large loss",
    "harmless alarmed",
    "harmless: cannot tell",
    "90 % interval covers the loss",
    "its median width, points",
    "AUC costly / harmless",
    "natural: costly / benign windows alarmed",
    "a check, ms CPU",
    "fit, s",
)
"""Columns of the table; {most} is the number of windows in which a change can be detected."""

FAMILY_HEADS = ("costly detected", "harmless alarmed", "cannot tell", "silent no", "interval covers")


def table(rows: Iterable[Row], mode: str) -> list[str]:
    """Return a Markdown table with one line for each method, in their order."""
    rows = [row for row in rows if row["mode"] == mode]
    lines = ["| | runs | " + " | ".join(heads(rows)) + " |", "| --- " * (len(HEADS) + 2) + "|"]
    for method in dict.fromkeys(row["method"] for row in rows):
        good = [row for row in rows if row["method"] == method and is_result(row)]
        values = cells(good, mode) if good else ["–"] * len(HEADS)
        lines.append(f"| {method} | {len(good)} | " + " | ".join(values) + " |")
    return lines


def heads(rows: Iterable[Row]) -> list[str]:
    """Return the heads of the table."""
    most = max(
        (len(after(row)) for row in rows if row["change"] is not None and is_result(row)), default=WITHIN
    )
    return [head.format(most=most, missed=most + 1) for head in HEADS]


def is_result(row: Row) -> bool:
    """Return whether a method ran to the end."""
    return not row["problem"] and not row.get("unsupported")


def excluded(rows: Iterable[Row]) -> Iterator[str]:
    """Yield a line for each reason why runs of a method have no result."""
    rows = list(rows)
    reasons = {"problem": "failed", "unsupported": "does not support"}
    for field, words in reasons.items():
        counts = Counter((row["method"], row["mode"], row[field]) for row in rows if row.get(field))
        for (method, mode, reason), count in counts.items():
            total = sum((row["method"], row["mode"]) == (method, mode) for row in rows)
            yield f"{method} ({MODES.get(mode, mode)}) {words} {count} of {total} runs: {reason}"


def cells(rows: list[Row], mode: str) -> list[str]:
    """Return the cells of one method, in the order of `HEADS`."""
    never_quiet = ("season", "natural", OLD_THEN_NEW)
    quiet = [row["alarms"][: row["change"]] for row in rows if row["scenario"] not in never_quiet]
    season = [row["alarms"] for row in rows if row["scenario"] == "season"]
    changed = [row for row in rows if row["change"] is not None and seen(row, mode)]
    harmful = [row for row in changed if row["harmful"] is True]
    harmless = [row for row in changed if row["harmful"] is False]
    delays = [delay(row) for row in harmful]
    return [
        per_mille(quiet, sum),
        per_mille(quiet, openings),
        per_mille(season, sum),
        percent([is_detected(row) for row in harmful]),
        f"{np.mean(delays):.1f}" if delays else "–",
        half(harmful),
        percent([is_silent(row) for row in changed if is_large(row)]),
        percent([is_detected(row) for row in harmless]),
        percent([says_unknown(row) and not is_detected(row) for row in harmless if can_say_unknown(row)]),
        coverage(changed),
        width(changed),
        area([peak(row) for row in harmful], [peak(row) for row in harmless]),
        " / ".join(percent(natural(rows, degradation)) for degradation in (True, False)),
        f"{np.median([row['cpu_ms'] for row in rows]):.1f}",
        f"{np.median([row['fit_s'] for row in rows]):.2f}",
    ]


def can_say_unknown(row: Row) -> bool:
    """Return whether a method has the answer that it cannot tell."""
    return bool(row.get("unknown"))


def says_unknown(row: Row) -> bool:
    """Return whether a method says after a change that it cannot tell."""
    return any(row.get("unknown", [])[row["change"] :][:WITHIN])


def half(rows: list[Row]) -> str:
    """Format the share of detected changes, where an answer that nobody can tell counts as half."""
    hits = [1.0 if is_detected(row) else 0.5 * says_unknown(row) for row in rows]
    return f"{np.mean(hits):.0%} of {len(hits)}" if hits else "–"


def is_large(row: Row) -> bool:
    """Return whether the true loss is large."""
    limit = LARGE_RELATIVE if row.get("regression") else LARGE
    return bool(row["loss"] > limit)


def is_silent(row: Row) -> bool:
    """Return whether no alarm follows a change, and the last check does not say that it cannot tell."""
    return not is_detected(row) and not any(row.get("unknown", [])[-1:])


def covered(rows: Iterable[Row]) -> list[bool]:
    """Return for each interval, from the fifth check after a change, whether it covers the true loss."""
    return [low <= row["loss"] <= high for row in rows for low, high in intervals(row)]


def intervals(row: Row) -> list[tuple[float, float]]:
    """Return the stated intervals of the loss from the fifth check after the change."""
    stated = row.get("intervals", [])[row["change"] + FROM_CHECK :]
    return [(interval[0], interval[1]) for interval in stated if interval is not None]


def coverage(rows: list[Row]) -> str:
    """Format how many of the intervals cover the true loss."""
    return percent(covered(rows))


def width(rows: list[Row]) -> str:
    """Format the median width of the intervals, in points of accuracy or percent of the error."""
    widths = [high - low for row in rows for low, high in intervals(row)]
    return f"{100 * np.median(widths):.1f}" if widths else "–"


def seen(row: Row, mode: str) -> bool:
    """Return whether a change is detectable: concept drift is not, without labels."""
    return mode != "none" or row["scenario"] != "concept"


def openings(alarms: list[int]) -> int:
    """Return how often an alarm opens."""
    return sum(b > a for a, b in zip([0, *alarms], alarms, strict=False))


def after(row: Row) -> list[int]:
    """Return the alarms in the windows after the change, at most the first `WITHIN`.

    An alarm that is open before the change, of an older fault, and that closes again says nothing about it.
    """
    change = row["change"]
    alarms: list[int] = row["alarms"][change:][:WITHIN]
    if row["scenario"] == OLD_THEN_NEW and row["alarms"][change - 1] and 0 in alarms:
        closed = alarms.index(0)
        alarms = [0] * closed + alarms[closed:]
    return alarms


def is_detected(row: Row) -> bool:
    """Return whether an alarm follows the change."""
    return 1 in after(row)


def delay(row: Row) -> int:
    """Return the windows from the change to the first alarm; one more than all for a miss."""
    return after(row).index(1) + 1 if is_detected(row) else len(after(row)) + 1


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
    """Format a share with its 95 % interval and its total."""
    if not hits:
        return "–"
    low, high = wilson(sum(hits), len(hits))
    return f"{np.mean(hits):.0%} ({100 * low:.0f} to {100 * high:.0f}) of {len(hits)}"


def wilson(hits: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share."""
    share, spread = hits / total, z * math.sqrt(hits * (total - hits) / total + z * z / 4)
    center, scale = hits + z * z / 2, total + z * z
    return max(0.0, min(share, (center - spread) / scale)), min(1.0, max(share, (center + spread) / scale))


def per_mille(runs: list[list[int]], count: Callable[[list[int]], int]) -> str:
    """Format a count per 1,000 checks with its 95 % interval, as if checks were independent."""
    checks = sum(len(run) for run in runs)
    if not checks:
        return "–"
    events = sum(count(run) for run in runs)
    low, high = wilson(events, checks)
    return f"{1000 * events / checks:.1f} ({1000 * low:.1f} to {1000 * high:.1f}) of {checks:,}"


def by_scenario(rows: Iterable[Row], method: str) -> list[str]:
    """Return a table of one method by scenario and mode."""
    rows = [row for row in rows if row["method"] == method and is_result(row)]
    modes = list(dict.fromkeys(row["mode"] for row in rows))
    lines = ["| scenario | " + " | ".join(f"{m}: {head}" for m in modes for head in FAMILY_HEADS) + " |"]
    lines.append("| --- " * (len(FAMILY_HEADS) * len(modes) + 1) + "|")
    for name in dict.fromkeys(row["scenario"] for row in rows if row["change"] is not None):
        results = [cell for mode in modes for cell in family(rows, name, mode)]
        lines.append(f"| {name} | " + " | ".join(results) + " |")
    return lines


def family(rows: list[Row], name: str, mode: str) -> list[str]:
    """Return the cells of one scenario and mode, in the order of `FAMILY_HEADS`."""
    mine = [r for r in rows if (r["scenario"], r["mode"]) == (name, mode) and r["change"] is not None]
    judged = {truth: [row for row in mine if row["harmful"] is truth] for truth in (True, False)}
    return [
        *(percent([is_detected(row) for row in rows]) for rows in judged.values()),
        percent([says_unknown(row) and not is_detected(row) for row in mine]),
        percent([is_silent(row) for row in mine if is_large(row)]),
        coverage(mine),
    ]
