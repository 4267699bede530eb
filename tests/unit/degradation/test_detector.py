from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.degradation_tasks import FAULTS, START, answers, table

from driftbell.alarms.smallest_loss import SmallestLoss
from driftbell.degradation.causes import find_suspects
from driftbell.degradation.cusum import LABELS
from driftbell.degradation.detector import CusumDetector, fit_detector
from driftbell.degradation.reference_models import Answers
from driftbell.errors import ConfigError
from driftbell.records import (
    Degradation,
    EvidenceState,
    LabelledPrediction,
    Outputs,
    Prediction,
    Value,
    Verdict,
    Window,
)
from driftbell.tabular.columns import as_column

CLASSES = ("no", "yes")
QUIET = {Verdict.OK}


def outputs(given: Answers) -> Outputs:
    return Outputs(given.values.astype(np.intp), given.probabilities)


def named(values: np.ndarray) -> np.ndarray:
    return as_column([CLASSES[int(v)] for v in values])


def fitted(labels: np.ndarray | None = None, rows: int = 800, **given: Any) -> CusumDetector:
    columns, truth = table(rows, 0)
    return fit_detector(
        columns,
        outputs(answers(columns)),
        named(truth) if labels is None else labels,
        classes=CLASSES,
        **{"smallest_loss": SmallestLoss(0.02), "checks_per_alarm": 100, **given},
    )


@pytest.fixture(scope="module")
def fresh() -> CusumDetector:
    return fitted()


class Log:
    """Predictions and labels as read from the store."""

    def __init__(self) -> None:
        self.predictions: list[Prediction] = []
        self.truth: list[Any] = []
        self.labels: list[Any] = []

    def predict(
        self,
        rows: int,
        seed: int,
        change: Callable[..., Any] = lambda t: t,
        ones: float | None = None,
        wrong: float = 0.0,
    ) -> None:
        columns, truth = table(rows, seed, ones)
        turned = np.random.default_rng(seed).random(rows) < wrong
        changed = change(columns)
        given = answers(changed)
        for i in range(rows):
            n = len(self.predictions)
            cells = {k: None if v[i] is None or v[i] != v[i] else v[i] for k, v in changed.items()}
            p = dict(zip(CLASSES, given.probabilities[i].tolist(), strict=True))
            self.predictions.append(
                Prediction(
                    f"p{n}",
                    START + timedelta(minutes=n),
                    "m",
                    "1",
                    cells,
                    CLASSES[int(given.values[i])],
                    p,
                    1.0,
                )
            )
            self.truth.append(CLASSES[int(truth[i] if not turned[i] else 1 - truth[i])])

    def label(self, places: list[int] | range, *, wrong: bool = False) -> None:
        """Label predictions; with `wrong` every label differs from the answer."""
        before = {result.prediction.id: result.label for result in self.labels}
        for n in places:
            prediction = self.predictions[n]
            label = next(c for c in CLASSES if c != prediction.output) if wrong else self.truth[n]
            now = START + timedelta(days=30, minutes=len(self.labels))
            self.labels.append(
                LabelledPrediction(prediction, label, now, len(self.labels) + 1, before.get(prediction.id))
            )

    def window(self, first: int) -> Window:
        predictions = tuple(self.predictions[first:])
        return Window(predictions, first + 1, len(self.predictions)) if predictions else Window((), 0, 0)

    def look(self, by: CusumDetector, state: EvidenceState) -> tuple[EvidenceState, Degradation]:
        return by.advance(state, self.window(state.seq), self.labels[state.label_seq :])


def replay(
    by: CusumDetector, log: Log, state: EvidenceState, blocks: int, **kinds: Any
) -> tuple[EvidenceState, Degradation, list[Verdict]]:
    seed, verdicts = kinds.pop("seed"), []
    for i in range(blocks):
        log.predict(400, seed + i, **kinds)
        state, degradation = log.look(by, state)
        verdicts.append(degradation.verdict)
    return state, degradation, verdicts


def test_unchanged_traffic_raises_no_alarm_and_counts_each_row_once(fresh: CusumDetector) -> None:
    log, state = Log(), EvidenceState()
    for rows in (400, 20, 20, 30, 300, 10):
        log.predict(rows, len(log.predictions) + 1)
        state, degradation = log.look(fresh, state)
        for _ in range(3):
            state, degradation = log.look(fresh, state)
    assert degradation.verdict is Verdict.OK
    assert (degradation.rows, state.rows, state.seq) == (780, 500, 500)
    assert msgspec.convert(json.loads(msgspec.json.encode(state)), EvidenceState) == state


def test_an_alarm_opens_and_ends(fresh: CusumDetector) -> None:
    log = Log()
    state, _, verdicts = replay(fresh, log, EvidenceState(), 3, seed=10)
    assert set(verdicts) == QUIET
    state, degradation, verdicts = replay(fresh, log, state, 2, seed=20, change=FAULTS["new category"][2])
    assert verdicts[-1] is Verdict.ALARM
    assert degradation.suspects[0].column == "d"
    assert set(degradation.to_label) <= {p.id for p in log.predictions[-500:]}
    assert replay(fresh, log, state, 15, seed=30)[2][-1] is Verdict.OK


@pytest.mark.parametrize("name", ["unit change", "nulls", "new category", "range"])
def test_an_accepted_change_raises_no_alarm_afterwards(fresh: CusumDetector, name: str) -> None:
    change = FAULTS[name][2]
    log = Log()
    state, _, verdicts = replay(fresh, log, EvidenceState(), 3, seed=20, change=change)
    assert verdicts[-1] is Verdict.ALARM
    moved = fresh.with_baseline(log.window(0))
    assert set(replay(moved, log, EvidenceState(seq=state.seq), 8, seed=60, change=change)[2]) == QUIET


def test_an_accepted_change_is_the_baseline_of_labels_too(fresh: CusumDetector) -> None:
    change = FAULTS["unit change"][2]
    log = Log()
    log.predict(1200, 20, change=change)
    moved = fresh.with_baseline(log.window(0))
    state = EvidenceState(seq=len(log.predictions))
    for i in range(4):
        log.predict(400, 60 + i, change=change)
        log.label(range(len(log.predictions) - 400, len(log.predictions)))
        state, degradation = log.look(moved, state)
        assert degradation.verdict is Verdict.OK
    assert degradation.performance.reference < 0.7


def test_an_accepted_label_shift_raises_no_alarm_afterwards(fresh: CusumDetector) -> None:
    log = Log()
    log.predict(1000, 20, ones=0.92)
    moved = fresh.with_baseline(log.window(0))
    state = EvidenceState(seq=len(log.predictions))
    assert set(replay(moved, log, state, 6, seed=60, ones=0.92)[2]) == QUIET


def test_a_change_after_an_accepted_one_raises_an_alarm(fresh: CusumDetector) -> None:
    expected = FAULTS["new category"][2]
    log = Log()
    log.predict(1000, 20, change=expected)
    moved = fresh.with_baseline(log.window(0))
    state = EvidenceState(seq=len(log.predictions))
    state, degradation, verdicts = replay(
        moved, log, state, 3, seed=60, change=lambda t: FAULTS["unit change"][2](expected(t))
    )
    assert verdicts[-1] is Verdict.ALARM
    assert [s.column for s in degradation.suspects] == ["a"]


def accepted(by: CusumDetector, log: Log, **known: Any) -> tuple[CusumDetector, EvidenceState]:
    """Log predictions with the new category "new" in a quarter of the rows, and accept them."""
    log.predict(1000, 20, change=with_new_category, **known)
    labels = {p.id: log.truth[i] for i, p in enumerate(log.predictions)}
    return by.with_baseline(log.window(0), labels if known else None), EvidenceState(seq=1000)


def with_new_category(columns: dict[str, Any]) -> dict[str, Any]:
    places = np.arange(len(columns["a"])) % 4 == 0
    return columns | {"d": np.where(places, "new", columns["d"]).astype(object)}


def test_the_labels_of_accepted_predictions_measure_the_baseline(fresh: CusumDetector) -> None:
    log = Log()
    moved, state = accepted(fresh, log, wrong=0.1)
    right = np.mean([p.output == label for p, label in zip(log.predictions, log.truth, strict=True)])
    log.predict(400, 61, change=with_new_category, wrong=0.1)
    log.label(range(1000, 1400))
    _, degradation = log.look(moved, state)
    assert degradation.verdict is Verdict.OK
    assert degradation.performance.reference == pytest.approx(right)
    assert degradation.performance.accepted_labels == 1000
    few = {p.id: log.truth[i] for i, p in enumerate(log.predictions[:99])}
    estimated = fresh.with_baseline(log.window(0), few)
    assert estimated.charts.accepted_labels == 0
    assert (
        estimated.charts.baselines[LABELS].mean
        == fresh.with_baseline(log.window(0)).charts.baselines[LABELS].mean
    )


def test_the_first_check_after_an_annotation_has_the_performance_of_the_baseline(
    fresh: CusumDetector,
) -> None:
    log = Log()
    moved, state = accepted(fresh, log)
    state, waiting = log.look(moved, state)
    assert waiting.waiting
    assert replay(moved, log, state, 1, seed=61, change=with_new_category)[1].performance.reference == (
        waiting.performance.reference
    )
    assert waiting.performance.accepted_labels == 0
    assert fresh.advance(EvidenceState(), Window(), [])[1].performance.reference == pytest.approx(
        1 - fresh.charts.baselines[LABELS].mean
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: np.where(d == "new", "x", d), "'new' is gone (25% in the reference)"),
        (
            lambda d: np.where(d == "x", "later", d),
            "new category 'later' (22%), 'x' is gone (24% in the reference): renamed?",
        ),
        (lambda d: np.where(d == "x", "new", d), "'new' 25% → 47%, 'x' is gone (24% in the reference)"),
    ],
)
def test_an_accepted_category_has_its_name_in_later_changes(
    fresh: CusumDetector, change: Any, words: str
) -> None:
    log = Log()
    moved, _ = accepted(fresh, log)

    def changed(columns: dict[str, Any]) -> dict[str, Any]:
        columns = with_new_category(columns)
        return columns | {"d": change(columns["d"]).astype(object)}

    log.predict(500, 62, change=changed)
    rows = moved.rows(log.window(1000))
    block = moved.charts.examine(rows.columns, rows.answers)
    described = {s.column: s.words for s in find_suspects(moved.charts, block, columns=rows.columns)}
    assert words in described["d"]
    assert "null" not in described["d"]


def test_too_few_rows_do_not_replace_the_baseline(fresh: CusumDetector) -> None:
    log = Log()
    log.predict(19, 1)
    assert fresh.with_baseline(log.window(0)) is fresh
    assert fresh.with_baseline(Window()) is fresh


def test_labels_may_be_late_out_of_order_and_corrected(fresh: CusumDetector) -> None:
    log = Log()
    state, degradation, _ = replay(fresh, log, EvidenceState(), 2, seed=10)
    log.label(range(399, 199, -1))
    log.label([5, 3, 600])
    state, degradation = log.look(fresh, state)
    assert (degradation.verdict, state.label_seq, state.labelled) == (Verdict.OK, 203, 200)
    log.label(range(200, 300), wrong=True)
    state, degradation = log.look(fresh, state)
    assert degradation.verdict is Verdict.ALARM
    assert (state.labelled, state.pending.count) == (200, 3)
    log.label(range(200, 300))
    state, degradation = log.look(fresh, state)
    assert degradation.verdict is Verdict.OK
    wrong = np.mean([label.label != label.prediction.output for label in log.labels[:203]])
    usual = fresh.charts.learned.errors.mean()
    counted = sum(b.rows * (b.loss + usual) for b in state.labels.blocks)
    assert (counted + state.pending.errors) / 203 == pytest.approx(wrong)


def test_concept_drift_raises_an_alarm_by_labels(fresh: CusumDetector) -> None:
    log = Log()
    log.predict(500, 3, wrong=0.3)
    log.label(range(500))
    _, degradation = log.look(fresh, EvidenceState())
    assert degradation.verdict is Verdict.ALARM
    assert "by its labels" in degradation.sentence
    assert [p.source for p in degradation.evidence if p.score >= 1] == [LABELS]


def test_answers_and_labels_of_unknown_classes_are_accepted(fresh: CusumDetector) -> None:
    log = Log()
    log.predict(100, 3)
    log.predictions = [replace(p, output="maybe", probabilities={}) for p in log.predictions]
    log.truth[0] = "never heard of"
    log.label(range(100))
    state, degradation = log.look(fresh, EvidenceState())
    assert degradation.verdict is Verdict.ALARM
    assert state.labels.blocks[-1].loss == pytest.approx(1 - fresh.charts.learned.errors.mean())
    assert msgspec.json.encode(state)


def test_nulls_and_values_of_another_kind_are_accepted(fresh: CusumDetector) -> None:
    log = Log()
    log.predict(120, 3)
    cells: dict[str, Value] = {"a": None, "b": "text", "c": None, "d": 7.0}
    log.predictions = [replace(p, features=cells) for p in log.predictions]
    _, degradation = log.look(fresh, EvidenceState())
    assert degradation.verdict is Verdict.ALARM
    assert "null 0.0% → 100.0%" in degradation.sentence


def test_an_empty_window_without_labels_waits(fresh: CusumDetector) -> None:
    state, degradation = fresh.advance(EvidenceState(), Window(), [])
    assert degradation.verdict is Verdict.UNKNOWN
    assert (state.seq, state.label_seq) == (0, 0)


def test_the_same_reference_fits_the_same_detector(fresh: CusumDetector) -> None:
    log = Log()
    log.predict(300, 3)
    assert log.look(fresh, EvidenceState()) == log.look(fitted(), EvidenceState())


def test_a_class_that_the_model_never_answers() -> None:
    columns, truth = table(400, 0)
    detector = fit_detector(
        columns,
        Outputs(
            answers(columns).values.astype(np.intp), np.c_[answers(columns).probabilities, np.zeros(400)]
        ),
        named(truth),
        classes=(*CLASSES, "maybe"),
        smallest_loss=SmallestLoss(0.02),
        checks_per_alarm=100,
    )
    log = Log()
    log.predict(300, 3)
    assert log.look(detector, EvidenceState())[1].verdict is Verdict.OK
    log.predict(300, 4)
    log.predictions[300:] = [replace(p, output="maybe") for p in log.predictions[300:]]
    assert log.look(detector, EvidenceState(seq=300))[1].verdict in QUIET | {Verdict.ALARM}


@pytest.mark.parametrize("unseen", [1, 40])
def test_reference_labels_that_are_no_class_of_the_model_are_wrong_answers(
    fresh: CusumDetector, unseen: int
) -> None:
    labels = named(table(800, 0)[1])
    labels[-unseen:] = "other"
    detector = fitted(labels=labels)
    learned = detector.charts.learned
    assert (learned.errors[-unseen:] == 1).all()
    assert (learned.errors[:-unseen] == fresh.charts.learned.errors[:-unseen]).all()
    log = Log()
    log.predict(500, 3)
    log.label(range(500))
    state, degradation = log.look(detector, EvidenceState())
    assert degradation.verdict in QUIET
    assert degradation.performance.reference == pytest.approx(1 - learned.errors.mean(), abs=0.02)
    assert msgspec.json.encode(state)


@pytest.mark.parametrize(("known", "labelled"), [(5, False), (100, True)])
def test_few_labels_in_a_reference_are_ignored(known: int, labelled: bool) -> None:
    labels = as_column(["yes", "no"] * (known // 2) + ["no"] * (known % 2) + [None] * (300 - known))
    detector = fitted(labels=labels, rows=300)
    assert detector.charts.learned.labelled is labelled
    assert len(detector.charts.learned.errors) == (known if labelled else 300)


def test_a_reference_of_one_row_is_rejected() -> None:
    with pytest.raises(ConfigError, match="at least 2 rows, has 1"):
        fitted(rows=1)
