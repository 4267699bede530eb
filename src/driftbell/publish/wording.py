"""Wording shared by pages, reports, notifications and the API: numbers, losses, change points, suspects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC

from driftbell.alarms.verdict import REPLACED
from driftbell.degradation.cause_texts import name_cause
from driftbell.degradation.claims import CANNOT_TELL, MAY_GO_ON, WARNING_CLAIMS
from driftbell.degradation.metric_texts import (
    ESTIMATED,
    POINT_METRICS,
    loss_text,
    number_writer,
    values_text,
)
from driftbell.phrases import count_of, format_amount, format_points, join_names, printable
from driftbell.records import Alarm, DailyCost, Degradation, Interval, Judgement, Performance, Verdict

VERDICT_SYMBOLS = {Verdict.OK: "✓", Verdict.WARNING: "!", Verdict.ALARM: "▲", Verdict.UNKNOWN: "?"}
"""Symbols that distinguish the verdicts without color."""

NO_ALARM_YET = "No alarm yet:"
"""Opening of a quiet check with a loss that is an alarm if it lasts."""

MAX_SUSPECTS, MIN_SHARE = 6, 0.005
"""Suspect columns that are listed, and the smallest share that is not rounded to 0 %."""

MAX_COLUMN_NAMES = 8
MAX_TEXT = 300
"""Characters of a text that may contain users' values."""

NOT_ESTIMATED = (
    "Not estimated: this check only compared columns and says nothing about the performance of the model."
)
UNKNOWN_VALUE = "unknown"
NEEDS_LABELS = "cannot tell"
"""The answer to "does the model perform worse?" where only labels tell."""


def verdict_answer(degradation: Degradation) -> str:
    """Return the answer to "does the model perform worse?" in a word or two.

    >>> from driftbell.records import Evidence
    >>> evidence = (Evidence("estimate", "", 0.4),)
    >>> verdict_answer(Degradation(Verdict.UNKNOWN, "", evidence=evidence)), verdict_answer(
    ...     Degradation(Verdict.UNKNOWN, "", waiting=True)
    ... )
    ('cannot tell', 'unknown')
    """
    return NEEDS_LABELS if degradation.needs_labels else degradation.verdict.value


def format_metric(value: float, metric: str) -> str:
    """Format the value of a performance metric.

    >>> format_metric(0.9412, "accuracy"), format_metric(0.25, "mean absolute error")
    ('94.1 %', '0.25')
    """
    return f"{value:.1%}".replace("%", " %") if metric in POINT_METRICS else format_amount(value)


def metric_writer(performance: Performance) -> Callable[[float], str]:
    """Return a function that writes values of a performance, with the same number of digits."""
    if performance.metric in POINT_METRICS:
        return lambda value: format_metric(value, performance.metric)
    if performance.currency:
        write = metric_writer(replace(performance, currency=""))
        return lambda value: f"{write(value)} {performance.currency}"
    sides = (performance.estimated, performance.realized)
    values = [side.value for side in sides if side]
    return number_writer([*values, *([] if performance.reference is None else [performance.reference])])


def format_loss(degradation: Degradation) -> str:
    """Format the estimated loss as the sentence does, or the interval of one that may be zero.

    >>> from driftbell.records import Interval
    >>> known, loss = Performance("accuracy", 0.942), Interval(0.042, 0.018, 0.066)
    >>> format_loss(Degradation(Verdict.ALARM, "", performance=known, estimated_loss=loss))
    '4.2 points of accuracy (90 % interval: 1.8 to 6.6), 94.2 % → 90.0 %'
    >>> format_loss(Degradation(Verdict.OK, "", estimated_loss=Interval(0.001, -0.018, 0.02)))
    'may be zero (90 % interval: −1.8 to 2.0 points of accuracy)'
    """
    loss = degradation.stated_loss
    if loss is None:
        return UNKNOWN_VALUE
    known = degradation.performance or Performance("accuracy")
    if not loss.is_positive:
        unit = f" {known.currency}" if known.currency else ""
        unit = " points of" if known.metric in POINT_METRICS else unit
        return f"may be zero ({loss_interval((loss.low, loss.high), known.metric)}{unit} {known.metric})"
    return loss_text(known.metric, known.reference, loss, known.currency)


def format_daily_cost(daily: DailyCost) -> str:
    """Format the cost of a loss per day, with its interval.

    >>> from driftbell.records import Interval
    >>> format_daily_cost(DailyCost(3000, Interval(126.0, 54.2, 198.0), "more wrong predictions"))
    'about 126 more wrong predictions a day (90 % interval: 54 to 198)'
    >>> format_daily_cost(DailyCost(3000, Interval(1110.4, 480.0, 1740.0), "EUR"))
    'about 1,110 EUR a day (90 % interval: 480 to 1,740)'
    """
    loss = daily.loss
    value, low, high = (
        f"{v:,.0f}" if v >= 10 else format_amount(v) for v in (loss.value, loss.low, loss.high)
    )
    return f"about {value} {daily.unit} a day (90 % interval: {low} to {high})"


def loss_interval(bounds: tuple[float, float], metric: str) -> str:
    """Format the 90 % interval of a loss, without its unit.

    >>> loss_interval((0.018, 0.066), "accuracy")
    '90 % interval: 1.8 to 6.6'
    """
    low, high = (_format_amount(bound, metric) for bound in bounds)
    return f"90 % interval: {low} to {high}"


def format_loss_amount(loss: float, metric: str, currency: str = "") -> str:
    """Format a loss of a metric with its unit.

    >>> format_loss_amount(0.0213, "accuracy"), format_loss_amount(41234.4, "mean absolute error")
    ('2.1 points', '41,234 of mean absolute error')
    >>> format_loss_amount(1.16, "cost per prediction", "EUR")
    '1.16 EUR of cost per prediction'
    """
    unit = "points" if metric in POINT_METRICS else " ".join(filter(None, (currency, f"of {metric}")))
    return f"{_format_amount(loss, metric)} {unit}"


def headline(judgement: Judgement) -> tuple[str, str]:
    """Return a short headline and the rest of the sentence, without what the degradation block shows.

    >>> worse = Degradation(Verdict.ALARM, "Worse.")
    >>> headline(Judgement(Verdict.ALARM, "Worse. Drift in age.", degradation=worse))
    ('The model probably performs worse.', 'Drift in age.')
    >>> fine = Degradation(Verdict.WARNING, "Fine.")
    >>> headline(Judgement(Verdict.WARNING, "Fine. Drift in age.", degradation=fine))
    ('Drift in age.', '')
    >>> known = replace(fine, sentence="Inputs changed, performance did not: the labels show no loss.")
    >>> headline(Judgement(Verdict.WARNING, f"{known.sentence} Drift in age.", degradation=known))
    ('Inputs changed, performance did not.', 'Drift in age.')
    """
    degradation = judgement.degradation
    if degradation is None:
        return judgement.sentence, ""
    rest = judgement.sentence.replace(degradation.sentence, "", 1).strip()
    if degradation.verdict is not Verdict.ALARM:
        claim = _warning_claim(degradation)
        return (claim, rest) if claim else (rest or judgement.sentence, "")
    if degradation.closing:
        claim = degradation.sentence.partition(": the alarm closes")[0]
        return f"The alarm is closing: {claim[:1].lower()}{claim[1:]}.", rest
    if degradation.sentence.startswith(MAY_GO_ON):
        return f"{MAY_GO_ON}.", rest
    claim = degradation.sentence.partition(", since ")[0]
    measured = claim.startswith(("The model loses", "The model performs")) and not claim.endswith(ESTIMATED)
    worse = f"The model {'performs' if measured else 'probably performs'} worse"
    if degradation.estimated_loss is None or not degradation.estimated_loss.is_positive:
        return f"{worse}.", rest
    return f"{worse}: {brief_loss(degradation, degradation.estimated_loss)}.", rest


def _warning_claim(degradation: Degradation) -> str:
    """Return the claim about a loss that is no alarm, or that only labels can tell; "" if there is none.

    Drift alone must not be the headline of such a check: there may be none.
    """
    if degradation.needs_labels:
        return f"{CANNOT_TELL}."
    loss = degradation.estimated_loss
    if degradation.names_loss and loss and degradation.sentence.startswith(NO_ALARM_YET):
        return f"{NO_ALARM_YET} {brief_loss(degradation, loss)}, which may be chance."
    if degradation.verdict is not Verdict.WARNING:
        return ""
    if degradation.sentence.endswith(REPLACED):
        return "This version performed worse."
    return next((f"{claim}." for claim in WARNING_CLAIMS if degradation.sentence.startswith(claim)), "")


def brief_loss(degradation: Degradation, loss: Interval) -> str:
    """Return a loss without its interval: the metric before and after, if both are known."""
    known = degradation.performance or Performance("accuracy")
    if known.reference is None:
        return loss_text(known.metric, None, loss, known.currency).partition(" (")[0]
    return f"{known.metric} {values_text(known.metric, known.reference, loss.value, known.currency)}"


def format_change_point(degradation: Degradation) -> str:
    """Format the change point with its interval; "" without one.

    The interval is omitted if both of its ends have the same text; its dates are omitted if they are the date
    of the change point.
    """
    if degradation.change_point is None:
        return ""
    point = degradation.change_point
    time, low, high = (t.astimezone(UTC) for t in (point.time, point.low, point.high))
    full = "%Y-%m-%d %H:%M"
    first, last = (f"{t:{'%H:%M' if t.date() == time.date() else full}}" for t in (low, high))
    interval = f" (90 % interval: {first} to {last})" if first != last else ""
    return f"{time:{full}} UTC{interval}"


def describe_suspects(degradation: Degradation) -> list[str]:
    """Describe the suspect columns: name, share of the evidence, and a description of their values.

    A share that would be rounded to 0 % is left out.

    >>> from driftbell.records import Suspect
    >>> describe_suspects(Degradation(Verdict.ALARM, "", suspects=(Suspect("age", 0.62, "frozen at 5.1"),)))
    ['age, 62 % of the evidence: frozen at 5.1']
    """
    return [
        truncate(name_cause(s))
        + (f", {100 * s.share:.0f} % of the evidence" if s.share >= MIN_SHARE else "")
        + (f": {truncate(s.words)}" if s.words else "")
        for s in degradation.suspects[:MAX_SUSPECTS]
    ]


def describe_drift(judgement: Judgement) -> str:
    """Describe in one sentence which columns drifted, and how many were not compared."""
    before, after = drift_sentence(judgement)
    return before + join_names(judgement.drifted_columns) + after


def drift_sentence(judgement: Judgement) -> tuple[str, str]:
    """Return the sentence about drift before and after the names of the drifted columns, if there are any."""
    compared = sum(c.compared for c in judgement.columns)
    if not compared:
        return "No column could be compared.", ""
    skipped = len(judgement.columns) - compared
    tail = f" {count_of(skipped, 'column')} not compared." if skipped else ""
    drifted = judgement.drifted_columns
    if not drifted:
        return f"No drift: {count_of(compared, 'column')} compared with the reference.{tail}", ""
    return "Drift in ", f": {len(drifted):,} of {count_of(compared, 'column')} compared.{tail}"


def format_score(score: float) -> str:
    """Format a score with as many digits as matter.

    >>> format_score(0.004), format_score(1.234), format_score(57.1)
    ('0.00', '1.23', '57.1')
    """
    return f"{score:.2f}" if score < 10 else f"{score:.1f}"


def annotation_text(alarm: Alarm) -> str:
    """Describe the annotation of an alarm: its kind, the end of a silence, author and reason.

    >>> from datetime import datetime
    >>> day = datetime(2026, 1, 31, 18, tzinfo=UTC)
    >>> annotation_text(Alarm("0f", "m", "1", day, None, "", annotation="silenced", author="ada",
    ...                       reason="we are on it", until=day))
    'silenced until 2026-01-31 18:00 UTC (ada: we are on it)'
    """
    end = f" until {alarm.until.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if alarm.until else ""
    return f"{alarm.annotation}{end} ({alarm.author}: {alarm.reason})"


def truncate(text: str, length: int = MAX_TEXT) -> str:
    """Shorten a text that may contain long values of the user, with control characters escaped."""
    return printable(text, length)


def _format_amount(value: float, metric: str) -> str:
    text = format_points(value) if metric in POINT_METRICS else format_amount(value)
    return text.replace("-", "−")
