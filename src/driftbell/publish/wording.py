"""What labels and estimates say of the model, in words and small pictures for every page and message."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from driftbell.records import Degradation, Evidence, Interval, Judgement, Performance, Verdict

VERDICT_SYMBOLS = {Verdict.OK: "✓", Verdict.WARNING: "!", Verdict.ALARM: "▲", Verdict.UNKNOWN: "?"}
"""So that a verdict can be told without colour."""

MAX_EVIDENCE_ROWS = 24
MOST_SUSPECTS = 6
MAX_LABEL_IDS = 100
LONGEST = 300
"""Characters of a text that may hold users' values."""

FULL = 2.0
"""The score that fills a bar; the threshold, 1, is in its middle."""

WIDTH, HEIGHT = 200, 14

NOT_ESTIMATED = "Not asked: this check compared columns only, and says nothing about how well the model does."
UNKNOWN_VALUE = "cannot say"


def format_metric(value: float, metric: str) -> str:
    """Write a value of a metric.

    >>> format_metric(0.9412, "accuracy"), format_metric(0.25, "mean absolute error")
    ('94.1 %', '0.25')
    """
    return f"{value:.1%}".replace("%", " %") if metric == "accuracy" else f"{value:.3g}"


def format_loss(degradation: Degradation) -> str:
    """Say what it costs, or that this cannot be said.

    >>> format_loss(Degradation(Verdict.ALARM, "", estimated_loss=Interval(0.042, 0.018, 0.066)))
    '4.2 points of accuracy (90 % interval: 1.8 to 6.6)'
    """
    if degradation.estimated_loss is None:
        return UNKNOWN_VALUE
    low, high = (
        _amount(v, _metric(degradation))
        for v in (degradation.estimated_loss.low, degradation.estimated_loss.high)
    )
    return f"{_cost(degradation.estimated_loss.value, _metric(degradation))} (90 % interval: {low} to {high})"


def headline(judgement: Judgement) -> tuple[str, str]:
    """Return a headline of a few words and the rest of the sentence, without what is shown elsewhere.

    >>> worse = Degradation(Verdict.ALARM, "Worse.")
    >>> headline(Judgement(Verdict.ALARM, "Worse. Drift in age.", degradation=worse))
    ('The model probably does worse.', 'Drift in age.')
    >>> fine = Degradation(Verdict.WARNING, "Fine.")
    >>> headline(Judgement(Verdict.WARNING, "Fine. Drift in age.", degradation=fine))
    ('Drift in age.', '')
    """
    degradation = judgement.degradation
    if degradation is None:
        return judgement.sentence, ""
    rest = judgement.sentence.replace(degradation.sentence, "", 1).strip()
    if degradation.verdict is not Verdict.ALARM:
        return rest or judgement.sentence, ""
    cost = (
        f": {_cost(degradation.estimated_loss.value, _metric(degradation))}"
        if degradation.estimated_loss
        else ""
    )
    return f"The model probably does worse{cost}.", rest


def format_change_point(degradation: Degradation) -> str:
    """Say when it began, with the interval where its ends do not read the same; "" where nothing did."""
    if degradation.change_point is None:
        return ""
    time, low, high = (
        t.astimezone(UTC)
        for t in (degradation.change_point.time, degradation.change_point.low, degradation.change_point.high)
    )
    whole = "%Y-%m-%d %H:%M"
    first, last = (f"{t:{'%H:%M' if t.date() == time.date() else whole}}" for t in (low, high))
    interval = f" (90 % interval: {first} to {last})" if first != last else ""
    return f"{time:{whole}} UTC{interval}"


def describe_suspects(degradation: Degradation) -> list[str]:
    """Name the columns that probably cause it, each with what its values look like.

    >>> from driftbell.records import Suspect
    >>> describe_suspects(Degradation(Verdict.ALARM, "", suspects=(Suspect("age", 0.62, "frozen at 5.1"),)))
    ['age, 62 % of the evidence: frozen at 5.1']
    """
    return [
        f"{truncate(s.column)}, {s.share:.0%}".replace("%", " % of the evidence")
        + (f": {truncate(s.words)}" if s.words else "")
        for s in degradation.suspects[:MOST_SUSPECTS]
    ]


def describe_drift(judgement: Judgement) -> str:
    """Answer the other question, has something changed, in one sentence."""
    compared = [c for c in judgement.columns if c.adjusted_p_value is not None]
    if not compared:
        return "No column could be judged."
    unknown = sum(c.verdict is Verdict.UNKNOWN for c in judgement.columns)
    tail = f" {unknown} more could not be judged." if unknown else ""
    drifted = judgement.drifted_columns
    if not drifted:
        return f"No column has changed: all {len(compared)} look like the reference.{tail}"
    names = ", ".join(truncate(name, 80) for name in drifted[:8])
    more = f" and {len(drifted) - 8} more" if len(drifted) > 8 else ""
    return f"Drift in {names}{more}: {len(drifted)} of {len(compared)} columns have changed.{tail}"


def evidence_name(part: Evidence) -> str:
    """Name a part of the evidence and the feature that it is about.

    >>> evidence_name(Evidence("broken data", "age", 0.2)), evidence_name(Evidence("labels", "", 0.2))
    ('broken data: age', 'labels')
    """
    return f"{part.source}: {truncate(part.column, 80)}" if part.column else part.source


def sorted_evidence(degradation: Degradation) -> list[Evidence]:
    """Give the parts, those that page first, the strongest first."""
    return sorted(degradation.evidence, key=lambda p: (not p.can_alarm, -p.score))


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table of what is known: its name, the value, the interval or "", and a picture."""

    name: str
    value: str
    interval: str
    picture: Markup


def performance_rows(found: Performance) -> list[Row]:
    """Give a row for the reference, the estimate and what the labels say, on a common scale."""
    scale = _scale(found)
    reference = UNKNOWN_VALUE if found.reference is None else format_metric(found.reference, found.metric)
    rows = [Row("On the reference", reference, "", _mark(found.reference, None, scale))]
    of = f" ({found.labelled:,} labels)" if found.realized else ""
    for name, known in (("Estimated, without labels", found.estimated), (f"Realized{of}", found.realized)):
        value, interval = UNKNOWN_VALUE, ""
        if known:
            value, low, high = (format_metric(v, found.metric) for v in (known.value, known.low, known.high))
            interval = f"90 % interval: {low} to {high}"
        rows.append(Row(name, value, interval, _mark(found.reference, known, scale)))
    return rows


def evidence_bar(part: Evidence) -> Markup:
    """Draw a score as a bar, with its threshold as a line in the middle."""
    filled = WIDTH * min(max(part.score, 0.0), FULL) / FULL
    kind = "over" if part.score >= 1 and part.can_alarm else "under"
    return Markup(
        '<svg class="gauge" role="img" viewBox="0 0 {w} {h}" preserveAspectRatio="none">'
        "<title>{words}</title>"
        '<path class="track" d="M0 3h{w}v8H0z"/><path class="{kind}" d="M0 3h{filled:.1f}v8H0z"/>'
        '<path class="threshold" d="M{middle:g} 0V{h}"/></svg>'
    ).format(
        w=WIDTH,
        h=HEIGHT,
        words=f"{evidence_name(part)}: {format_score(part.score)} of its threshold",
        kind=kind,
        filled=filled,
        middle=WIDTH / FULL,
    )


def format_score(score: float) -> str:
    """Write a score without pretending more than it knows.

    >>> format_score(0.004), format_score(1.234), format_score(57.1)
    ('0.00', '1.23', '57.1')
    """
    return f"{score:.2f}" if score < 10 else f"{score:.1f}"


def truncate(text: str, most: int = LONGEST) -> str:
    """Shorten a text that users' data may have made long."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def register_template_globals(environment: Environment) -> None:
    """Give an environment of templates what `degradation.html.j2` needs."""
    known: Mapping[str, Callable[..., Any]] = {
        "evidence_name": evidence_name,
        "evidence_bar": evidence_bar,
        "truncate": truncate,
        "headline": headline,
        "format_loss": format_loss,
        "performance_rows": performance_rows,
        "format_score": format_score,
        "format_change_point": format_change_point,
        "sorted_evidence": sorted_evidence,
        "describe_suspects": describe_suspects,
    }
    environment.globals |= {
        **known,
        "VERDICT_SYMBOLS": VERDICT_SYMBOLS,
        "NOT_ESTIMATED": NOT_ESTIMATED,
        "MAX_EVIDENCE_ROWS": MAX_EVIDENCE_ROWS,
        "MAX_LABEL_IDS": MAX_LABEL_IDS,
    }


def _metric(degradation: Degradation) -> str:
    return degradation.performance.metric if degradation.performance else "accuracy"


def _amount(value: float, metric: str) -> str:
    return (f"{value * 100:.1f}" if metric == "accuracy" else f"{value:.3g}").replace("-", "−")


def _cost(value: float, metric: str) -> str:
    return f"{_amount(value, metric)} {'points of' if metric == 'accuracy' else 'more'} {metric}"


def _scale(found: Performance) -> tuple[float, float]:
    """Give the ends of the common axis: all that is known, with some room."""
    known = [] if found.reference is None else [found.reference]
    for interval in (found.estimated, found.realized):
        known += [interval.low, interval.high] if interval else []
    known = [v for v in known if math.isfinite(v)]
    if not known:
        return 0.0, 1.0
    room = max((max(known) - min(known)) * 0.15, 0.01 * max(abs(v) for v in known), 1e-9)
    return min(known) - room, max(known) + room


def _mark(reference: float | None, found: Interval | None, scale: tuple[float, float]) -> Markup:
    def at(value: float) -> float:
        return WIDTH * (min(max(value, scale[0]), scale[1]) - scale[0]) / (scale[1] - scale[0])

    drawn = Markup('<path class="track" d="M0 7h{w}"/>').format(w=WIDTH)
    if found and not any(map(math.isnan, (found.value, found.low, found.high))):
        low, high, value = at(found.low), at(found.high), at(found.value)
        drawn += Markup(
            '<path class="band" d="M{low:.1f} 3h{wide:.1f}v8h-{wide:.1f}z"/>'
            '<path class="value" d="M{at:.1f} 1h3v12h-3z"/>'
        ).format(low=low, wide=high - low, at=value - 1.5)
    if reference is not None and not math.isnan(reference):
        drawn += Markup('<path class="threshold" d="M{:.1f} 0V{}"/>').format(at(reference), HEIGHT)
    return Markup(
        '<svg class="gauge" aria-hidden="true" viewBox="0 0 {w} {h}" preserveAspectRatio="none">{drawn}</svg>'
    ).format(w=WIDTH, h=HEIGHT, drawn=drawn)
