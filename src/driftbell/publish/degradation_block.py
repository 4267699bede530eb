"""Template functions of the block "Does the model perform worse?": tables of evidence and inline SVG gauges.

`degradation.html.j2` renders it on the first page of the service and in the HTML report.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from driftbell.phrases import count_of, join_names, printable
from driftbell.publish.limit_views import limit_word, listed_limits
from driftbell.publish.measured_metrics import (
    chosen_rows,
    measured_when,
    metric_labels_sentence,
    metric_table,
    older_rows,
)
from driftbell.publish.wording import (
    NOT_ESTIMATED,
    UNKNOWN_VALUE,
    VERDICT_SYMBOLS,
    describe_suspects,
    format_change_point,
    format_daily_cost,
    format_loss,
    format_score,
    headline,
    metric_writer,
    truncate,
    verdict_answer,
)
from driftbell.records import Degradation, Evidence, Interval, ModelMetrics, Performance, TargetDrift
from driftbell.stats.most_frequent import most_frequent

MAX_EVIDENCE_ROWS = 24
MAX_LABEL_IDS = 100
MAX_CLASSES = 12

FULL_SCORE = 2.0
"""The score that fills a bar unless there is a larger one, which then fills it; the threshold is 1."""

NEWEST_ROWS = re.compile(r"newest (\d[\d,]* )?(rows|values)")
"""Words of sentences about the predictions of one check alone."""

GAUGE_WIDTH, GAUGE_HEIGHT = 200, 14


@dataclass(frozen=True, slots=True)
class PerformanceRow:
    """One row of the performance table: name, value, interval or "", and gauge."""

    name: str
    value: str
    interval: str
    gauge: Markup


def register_template_globals(environment: Environment) -> None:
    """Register what `degradation.html.j2`, `limits.html.j2` and the pages around them use."""
    functions: Mapping[str, Callable[..., Any]] = {
        "describe_suspects": describe_suspects,
        "evidence_gauge": evidence_gauge,
        "evidence_title": evidence_title,
        "format_change_point": format_change_point,
        "format_daily_cost": format_daily_cost,
        "format_loss": format_loss,
        "format_score": format_score,
        "full_score": full_score,
        "headline": headline,
        "limit_word": limit_word,
        "listed_limits": listed_limits,
        "chosen_rows": chosen_rows,
        "measured_when": measured_when,
        "mentions_newest_rows": mentions_newest_rows,
        "metric_labels_sentence": metric_labels_sentence,
        "metric_table": metric_table,
        "performance_rows": performance_rows,
        "sorted_evidence": sorted_evidence,
        "target_rows": target_rows,
        "unseen_sentence": unseen_sentence,
        "truncate": truncate,
        "verdict_answer": verdict_answer,
    }
    environment.globals |= {
        **functions,
        "MAX_EVIDENCE_ROWS": MAX_EVIDENCE_ROWS,
        "MAX_LABEL_IDS": MAX_LABEL_IDS,
        "NOT_ESTIMATED": NOT_ESTIMATED,
        "VERDICT_SYMBOLS": VERDICT_SYMBOLS,
    }


def evidence_title(evidence: Evidence) -> str:
    """Return the source of a piece of evidence and, where there is one, its column.

    >>> evidence_title(Evidence("data quality", "age", 0.2)), evidence_title(Evidence("labels", "", 0.2))
    ('data quality: age', 'labels')
    """
    return f"{evidence.source}: {truncate(evidence.column, 80)}" if evidence.column else evidence.source


def sorted_evidence(degradation: Degradation) -> list[Evidence]:
    """Return the evidence: sources that can raise an alarm first, then by descending score."""
    return sorted(degradation.evidence, key=lambda e: (not e.can_alarm, -e.score))


def full_score(degradation: Degradation) -> float:
    """Return the score that fills a bar: the largest one, or twice the threshold.

    >>> from driftbell.records import Verdict
    >>> full_score(Degradation(Verdict.ALARM, "", evidence=(Evidence("labels", "", 3.65),)))
    3.65
    """
    return max([FULL_SCORE, *(e.score for e in degradation.evidence if math.isfinite(e.score))])


def mentions_newest_rows(degradation: Degradation) -> bool:
    """Return whether the sentence or a suspect column is about the newest rows."""
    texts = (degradation.sentence, *describe_suspects(degradation))
    return any(NEWEST_ROWS.search(text) for text in texts)


def evidence_gauge(evidence: Evidence, full: float = FULL_SCORE) -> Markup:
    """Draw a score as a bar, with the threshold as a line.

    Args:
        evidence: has the score.
        full: the score that fills a bar, the same for all bars of a table.
    """
    filled = GAUGE_WIDTH * min(max(evidence.score, 0.0), full) / full
    style = "over" if evidence.score >= 1 and evidence.can_alarm else "under"
    return Markup(
        '<svg class="gauge" role="img" viewBox="0 0 {width} {height}" preserveAspectRatio="none">'
        "<title>{title}</title>"
        '<path class="track" d="M0 3h{width}v8H0z"/><path class="{style}" d="M0 3h{filled:.1f}v8H0z"/>'
        '<path class="threshold" d="M{middle:g} 0V{height}"/></svg>'
    ).format(
        width=GAUGE_WIDTH,
        height=GAUGE_HEIGHT,
        title=f"{evidence_title(evidence)}: {format_score(evidence.score)} × its threshold",
        style=style,
        filled=filled,
        middle=round(GAUGE_WIDTH / full, 1),
    )


def performance_rows(performance: Performance, metrics: ModelMetrics | None = None) -> list[PerformanceRow]:
    """Return one row each for the reference, the estimate and the realized value, on a common scale.

    Args:
        performance: the values.
        metrics: the rows of the realized value, which are named if some of them are older than the window.
    """
    scale = _common_scale(performance)
    reference = performance.reference
    write = metric_writer(performance)
    value = UNKNOWN_VALUE if reference is None else write(reference)
    rows = [PerformanceRow(_baseline_name(performance), value, "", _interval_gauge(reference, None, scale))]
    facts = (
        f"newest {count_of(performance.labelled, 'label')}",
        older_rows(metrics),
        chosen_rows(performance, metrics),
    )
    labels = f" ({', '.join(filter(None, facts))})" if performance.realized else ""
    for name, interval in (
        ("Estimated without labels, newest rows", performance.estimated),
        (f"Realized{labels}", performance.realized),
    ):
        value, bounds = UNKNOWN_VALUE, ""
        if interval:
            value, low, high = map(write, (interval.value, interval.low, interval.high))
            bounds = f"90 % interval: {low} to {high}"
        rows.append(PerformanceRow(name, value, bounds, _interval_gauge(reference, interval, scale)))
    return rows


def _baseline_name(performance: Performance) -> str:
    """Return the name of the row of the reference, or of the predictions that an annotation accepted."""
    labels = performance.accepted_labels
    if labels is None:
        return "On the reference"
    how = count_of(labels, "label") if labels else "estimated without labels"
    return f"On the accepted predictions ({how})"


def target_rows(target: TargetDrift) -> list[tuple[str, str, str]]:
    """Return class, labels in the reference and in the window; frequent classes first, bins in order.

    >>> target_rows(TargetDrift(0.25, 0.1, 0.01, {"yes": 3, "no": 1}, {"yes": 1, "no": 1}, ""))
    [('yes', '3 (75 %)', '1 (50 %)'), ('no', '1 (25 %)', '1 (50 %)')]
    """
    totals = [sum(counts.values()) for counts in (target.reference, target.window)]
    counted = {
        c: target.reference.get(c, 0) + target.window.get(c, 0) for c in (*target.reference, *target.window)
    }
    shown = list(counted) if target.ordered else most_frequent(counted, MAX_CLASSES)
    rows = []
    for name in shown:
        counts = (target.reference.get(name, 0), target.window.get(name, 0))
        cells = [
            f"{n:,} ({n / whole:.0%})".replace("%", " %") if whole else "–"
            for n, whole in zip(counts, totals, strict=True)
        ]
        rows.append((truncate(name, 80), cells[0], cells[1]))
    if len(counted) > len(shown):
        rows.append((f"and {len(counted) - len(shown)} more", "", ""))
    return rows


def unseen_sentence(target: TargetDrift) -> str:
    """Return a sentence about the labels of the window that are no class of the model.

    >>> unseen_sentence(TargetDrift(None, None, None, {}, {"yes": 3, "Yess": 2}, "", {"Yess": 2}))
    "2 of 5 labels are no class of the model and count as wrong answers: 'Yess' (2)."
    """
    names = join_names(f"'{printable(name, 30)}' ({count:,})" for name, count in target.unseen.items())
    total, whole = sum(target.unseen.values()), sum(target.window.values())
    are = "label is no class of the model and counts as a wrong answer"
    if total > 1:
        are = "labels are no class of the model and count as wrong answers"
    of = f"{total:,} of {whole:,} " if whole > 1 else "The only "
    return f"{of}{are}: {names}."


def _common_scale(performance: Performance) -> tuple[float, float]:
    """Return the ends of the common axis: all finite values, with a margin of 15 %."""
    values = [] if performance.reference is None else [performance.reference]
    for interval in (performance.estimated, performance.realized):
        values += [interval.low, interval.high] if interval else []
    values = [v for v in values if math.isfinite(v)]
    if not values:
        return 0.0, 1.0
    margin = max((max(values) - min(values)) * 0.15, 0.01 * max(abs(v) for v in values), 1e-9)
    return min(values) - margin, max(values) + margin


def _interval_gauge(reference: float | None, interval: Interval | None, scale: tuple[float, float]) -> Markup:
    def position(value: float) -> float:
        return GAUGE_WIDTH * (min(max(value, scale[0]), scale[1]) - scale[0]) / (scale[1] - scale[0])

    shapes = Markup('<path class="track" d="M0 7h{}"/>').format(GAUGE_WIDTH)
    if interval and not any(map(math.isnan, (interval.value, interval.low, interval.high))):
        low, high, value = position(interval.low), position(interval.high), position(interval.value)
        shapes += Markup(
            '<path class="band" d="M{low:.1f} 3h{width:.1f}v8h-{width:.1f}z"/>'
            '<path class="value" d="M{value:.1f} 1h3v12h-3z"/>'
        ).format(low=low, width=high - low, value=value - 1.5)
    if reference is not None and not math.isnan(reference):
        shapes += Markup('<path class="threshold" d="M{:.1f} 0V{}"/>').format(
            position(reference), GAUGE_HEIGHT
        )
    return Markup(
        '<svg class="gauge" aria-hidden="true" viewBox="0 0 {width} {height}" preserveAspectRatio="none">'
        "{shapes}</svg>"
    ).format(width=GAUGE_WIDTH, height=GAUGE_HEIGHT, shapes=shapes)
