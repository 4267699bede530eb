"""Gate before a deployment: the alarms must be quiet on the past and catch faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import scipy

from driftbell.degradation.cusum import MIN_ROWS
from driftbell.degradation.label_texts import unlabelled_text
from driftbell.drift.compare import compare
from driftbell.drift.judge import judge, persistent_columns, update_persistence
from driftbell.drift.logged_columns import prepare_reference, typed_columns
from driftbell.phrases import count_of
from driftbell.publish.wording import format_loss_amount
from driftbell.records import (
    Columns,
    EvidenceState,
    LabelledPrediction,
    Prediction,
    Verdict,
    Window,
)
from driftbell.simulation.faults import Fault
from driftbell.simulation.rehearsal import (
    Rehearsal,
    RehearsalOutcome,
    rehearse,
)
from driftbell.simulation.row_times import with_rows

CHANCE = 0.01
"""More false alarms than the allowed ones have at most this probability if the budget is kept."""


class GateStatus(StrEnum):
    """Answer to one question of the gate; `unknown` if there is none."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """Recorded rows with the model's answers, oldest first.

    Attributes:
        name: where the rows are from, for sentences.
        predictions: the rows.
        columns: the same rows with the columns of the reference, where they are known.
        labels: true class by id of the prediction.
        timed: whether the times of the predictions are real.
        note: a contradiction in the labels, or "".
    """

    name: str
    predictions: Sequence[Prediction]
    columns: Columns
    labels: Mapping[str, str]
    timed: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class PastChecks:
    """Consecutive checks of the past with an alarm, or that cannot tell whether the model performs worse.

    Attributes:
        check: index of the first of them, from 0.
        rows: first and last row of this check, from 0.
        checks: number of checks.
        columns: suspect columns.
        sentence: estimated loss, since when, and suspect columns; or why the first check cannot tell.
    """

    check: int
    rows: tuple[int, int]
    checks: int
    columns: tuple[str, ...]
    sentence: str


@dataclass(frozen=True, slots=True)
class QuietAnswer:
    """Answer to the question whether the alarms are quiet on the past.

    Attributes:
        status: whether there are more alarms than the budget explains; unknown if checks cannot tell.
        reason: the reason in one sentence.
        checks: number of checks.
        alarms: every alarm.
        allowed: number of alarms that the budget explains, see `allowed_alarms`.
        drift: number of checks with drift, by column; drift without a loss is no alarm.
        cannot_tell: the checks that cannot tell whether the model performs worse.
    """

    status: GateStatus
    reason: str
    checks: int = 0
    alarms: tuple[PastChecks, ...] = ()
    allowed: int = 0
    drift: Mapping[str, int] | None = None
    cannot_tell: tuple[PastChecks, ...] = ()


@dataclass(frozen=True, slots=True)
class CatchesAnswer:
    """Answer to the question whether harmful faults raise an alarm.

    Attributes:
        status: whether each harmful fault does; unknown if checks cannot tell, and without a harmful fault.
        reason: the reason in one sentence.
        without_fault: the same rows without a fault.
        outcomes: each fault.
        harmful: the faults with at least the smallest loss that matters.
    """

    status: GateStatus
    reason: str
    without_fault: RehearsalOutcome
    outcomes: tuple[RehearsalOutcome, ...]
    harmful: tuple[str, ...]


def allowed_alarms(checks: int, checks_per_alarm: float) -> int:
    """Return the largest number of alarms that the budget explains.

    The smallest k with P(X > k) <= 1 %, where X is binomial: n checks, each with a false alarm at rate 1/a.

    Args:
        checks: number of checks n.
        checks_per_alarm: checks that the budget allows for each false alarm, a.

    >>> allowed_alarms(50, 8640), allowed_alarms(2000, 1000)
    (0, 6)
    """
    alarms = 0
    while alarms < checks and scipy.special.bdtrc(alarms, checks, 1 / checks_per_alarm) > CHANCE:
        alarms += 1
    return alarms


def is_quiet(rehearsal: Rehearsal, past: Past, *, strong: float, budget: str) -> QuietAnswer:
    """Run checks on the past window by window, and count the alarms.

    Args:
        rehearsal: the model and its detector.
        past: recorded rows; rows before the last complete windows are not checked.
        strong: see `judge`.
        budget: allowed false alarms as a text.
    """
    window_rows = rehearsal.window_rows
    available, needed = len(past.predictions), max(window_rows, MIN_ROWS)
    if available < needed:
        reason = (
            f"{past.name} has {count_of(available, 'row')}, and a check needs {needed}: pass a longer past"
        )
        return QuietAnswer(GateStatus.UNKNOWN, reason)
    checks = available // window_rows
    skipped = available - checks * window_rows
    alarms, untold, drift = _run_checks(rehearsal, past, skipped, strong)
    allowed = allowed_alarms(checks, rehearsal.detector.charts.checks_per_alarm)
    status = GateStatus.UNKNOWN if untold else GateStatus.PASSED
    status = GateStatus.FAILED if len(alarms) > allowed else status
    reason = (
        f"{count_of(len(alarms), 'alarm')} in {count_of(checks, 'check')} of {window_rows} rows of "
        f"{past.name}; "
        f"the budget, {budget}, allows {allowed}{past.note and f'; {past.note}'}"
    )
    if untold:
        count = sum(span.checks for span in untold)
        reason += (
            f"; {count_of(count, 'check')} cannot tell whether the model performs worse: {_settling(past)}"
        )
    unlabelled = unlabelled_text(available, len(past.labels), f"{{}} rows of {past.name}")
    if unlabelled and status is GateStatus.PASSED:
        reason += f"; {unlabelled[:1].lower()}{unlabelled[1:-1]}"
    return QuietAnswer(status, reason, checks, tuple(alarms), allowed, drift, tuple(untold))


def _settling(past: Past) -> str:
    """Return what settles whether the model performs worse on a past."""
    if len(past.labels) == len(past.predictions):
        return "all rows have a label already, so only a longer past settles it"
    return "more labels settle it" if past.labels else "labels settle it"


def catches(
    rehearsal: Rehearsal, faults: Sequence[Fault], *, smallest_loss: float, seed: int = 0
) -> CatchesAnswer:
    """Inject faults, and require an alarm for each harmful one.

    A harmful fault without an alarm of which a check says that it cannot tell is neither caught nor missed.

    Args:
        rehearsal: the model and its detector.
        faults: faults to inject; none for the default faults.
        smallest_loss: the smallest loss that matters.
        seed: random seed of the rows.

    Raises:
        ConfigError, PredictError: see `Rehearsal`.
    """
    without_fault, *rest = rehearse(rehearsal, faults, seed=seed)
    outcomes = tuple(rest)
    harmful = [o for o in outcomes if o.actual_loss is not None and o.actual_loss >= smallest_loss]
    untold = [o for o in harmful if o.cannot_tell]
    caught = [o for o in harmful if o.detection_delay is not None]
    status = GateStatus.UNKNOWN if untold or without_fault.cannot_tell else GateStatus.PASSED
    windows = f"{count_of(rehearsal.max_windows, 'window')} of {rehearsal.window_rows} rows"
    reason = (
        f"{len(caught)} of {count_of(len(harmful), 'harmful fault')} caught within {windows}"
        f"{f'; checks cannot tell about {len(untold)} without labels' if untold else ''}"
    )
    if without_fault.detection_delay is not None:
        status = GateStatus.FAILED
        reason = f"an alarm without a fault after {without_fault.detection_delay} rows"
    elif not harmful:
        status = GateStatus.UNKNOWN
        amount = format_loss_amount(smallest_loss, without_fault.metric, without_fault.currency)
        least = f"{amount} (alarms.smallest_loss)"
        reason = (
            "the loss of a fault is unknown without labels: set model.target, or pass --past with --label"
            if any(o.actual_loss is None and not o.refused for o in outcomes)
            else f"no fault costs at least {least}: pass a larger --fault"
        )
    elif len(caught) + len(untold) < len(harmful):
        status = GateStatus.FAILED
    elif without_fault.cannot_tell:
        reason += f"; also without a fault, checks cannot tell: {without_fault.reason}"
    return CatchesAnswer(status, reason, without_fault, outcomes, tuple(o.fault for o in harmful))


def _run_checks(
    rehearsal: Rehearsal, past: Past, skipped: int, strong: float
) -> tuple[list[PastChecks], list[PastChecks], dict[str, int]]:
    """Return the alarms, the checks that cannot tell, and the number of checks with drift by column."""
    reference = rehearsal.reference
    prepared = prepare_reference(reference)
    columns = typed_columns(past.columns, prepared.decided)
    state = EvidenceState()
    persistence: Mapping[str, int] = {}
    alarms: list[PastChecks] = []
    untold: list[PastChecks] = []
    drift: Counter[str] = Counter()
    begin = skipped
    for check, start in enumerate(range(skipped, len(past.predictions), rehearsal.window_rows)):
        stop = start + rehearsal.window_rows
        window = Window(tuple(past.predictions[begin:stop]), begin + 1, stop)
        labels = _labels(past, start, stop)
        state, degradation = rehearsal.detector.advance(state, window, labels)
        begin = max(begin, state.seq)  # fewer rows than a block wait for more
        judgement = judge(
            compare(prepared, {k: replace(c, values=c.values[start:stop]) for k, c in columns.items()}),
            rows=stop - start,
            strong=strong,
            persistent=persistent_columns(persistence, first=start),
        )
        persistence = update_persistence(persistence, judgement, last=stop - 1)
        drift.update(judgement.drifted_columns)
        spans = alarms if degradation.verdict is Verdict.ALARM else untold
        if spans is alarms or degradation.needs_labels:
            sentence = degradation.sentence
            sentence = sentence if past.timed else with_rows(sentence)
            rows = (start, stop - 1)
            _add_check(spans, PastChecks(check, rows, 1, degradation.suspect_columns, sentence))
    return alarms, untold, dict(drift.most_common())


def _add_check(spans: list[PastChecks], check: PastChecks) -> None:
    """Add a check to the newest span if it follows it, else as a new span."""
    newest = spans[-1] if spans else None
    if newest and newest.check + newest.checks == check.check:
        spans[-1] = replace(newest, checks=newest.checks + 1)
    else:
        spans.append(check)


def _labels(past: Past, start: int, stop: int) -> list[LabelledPrediction]:
    """Return the labels of some rows, which arrive with them."""
    return [
        LabelledPrediction(p, past.labels[p.id], p.time, start + i + 1)
        for i, p in enumerate(past.predictions[start:stop])
        if p.id in past.labels
    ]
