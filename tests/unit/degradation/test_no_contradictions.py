"""No sentence about the performance says what the numbers beside it contradict, in random states."""

from __future__ import annotations

import re
from collections import Counter
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from tests.degradation_tasks import START, evidence
from tests.unit.degradation.test_loss_sentence import blocks, check_consistent, result

import driftbell
from driftbell.degradation.claims import (
    ACCUMULATED,
    CONTRADICTED,
    NOT_CONFIRMED,
    RECOVERED,
    SMALLER,
    SMALLER_NOW,
    UNCHANGED,
)
from driftbell.degradation.loss_scale import loss_scale
from driftbell.degradation.no_alarm_texts import (
    accumulated_text,
    closing_text,
    contradicted_text,
    quiet_text,
    recovered_text,
)
from driftbell.degradation.update import update
from driftbell.records import Degradation, EvidenceState, Interval, Suspect, Verdict
from driftbell.records.check_state import BlockExplanation, ColumnCondition, SourceState, Suspicion
from driftbell.simulation import backtest_run

SEEDS = range(14)
AS_WELL = "The model performs as well as on its reference"
NO_LOSS = re.compile(r"(show|shows) (no|less than)")
"""The clause that the rows of the sentence show no loss, or none that matters."""


def random_stream(seed: int) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return a reference, a stream with a fault and a recovery, and the options of its backtest."""
    rng = np.random.default_rng(seed)
    regression, rows = bool(rng.random() < 0.5), int(rng.choice([300, 1000, 3000]))
    window = int(rng.choice([100, 200, 500]))
    count = 14 * window

    def rows_of(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x = rng.normal(size=(number, 3))
        noise = rng.standard_t(3, number) if rng.random() < 0.5 else rng.normal(size=number)
        return x, x @ [2.0, 1.0, 0.2], noise

    def table(x: np.ndarray, seen: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
        score = np.nan_to_num(seen) @ [2.0, 1.0, 0.2]
        columns: dict[str, Any] = {f"x{i}": seen[:, i] for i in range(3)}
        if regression:
            return columns | {"answer": 10 + score, "truth": 10 + truth}
        chance = 1 / (1 + np.exp(-1.7 * score))
        return columns | {"answer": score > 0, "p": chance, "truth": truth > 0}

    x, signal, noise = rows_of(rows)
    reference = table(x, x, signal + noise)
    x, signal, noise = rows_of(count)
    first, last = sorted(rng.integers(3 * window, count, 2))
    faulty = (np.arange(count) >= first) & ((np.arange(count) < last) | (rng.random() < 0.4))
    seen, size = x.copy(), rng.uniform(0.05, 1.0)
    broken, place = faulty & (rng.random(count) < size), int(rng.integers(3))
    kind = rng.choice(["null", "frozen", "moved", "labels", "noise"])
    if kind == "labels":
        signal = np.where(broken, signal * (1 - size), signal)
    elif kind == "noise":
        noise = np.where(broken, noise * (1 + size), noise)
    else:
        value = {"null": np.nan, "frozen": 0.3}.get(str(kind), x[:, place] + 2 * size)
        seen[broken, place] = value[broken] if isinstance(value, np.ndarray) else value
    stream = table(x, seen, signal + noise)
    share = float(rng.choice([1.0, 0.5, 0.1]))
    labelled = rng.random(count) < share
    stream["truth"] = [
        t if known else None for t, known in zip(stream["truth"].tolist(), labelled, strict=True)
    ]
    options = {
        "prediction": "answer",
        "label": "truth",
        "label_delay": int(rng.integers(0, 3)),
        "window_rows": window,
        "task": "regression" if regression else "classification",
        "probabilities": {} if regression or rng.random() < 0.3 else {True: "p"},
    }
    return reference, stream, options


def degradations(seed: int, monkeypatch: pytest.MonkeyPatch) -> list[Degradation]:
    """Return the judgements of the performance in a random backtest."""
    results: list[Degradation] = []

    def recorded(*args: Any) -> Any:
        state, degradation = update(*args)
        results.append(degradation)
        return state, degradation

    with monkeypatch.context() as patch:
        patch.setattr(backtest_run, "update", recorded)
        reference, stream, options = random_stream(seed)
        list(driftbell.backtest(reference, stream, **options))
    return results


def claim_of(sentence: str) -> str:
    claims = (AS_WELL, UNCHANGED, CONTRADICTED, NOT_CONFIRMED, SMALLER, SMALLER_NOW, RECOVERED, ACCUMULATED)
    return next((claim for claim in claims if sentence.startswith(claim)), "")


def check_no_contradiction(degradation: Degradation) -> None:
    """Check that the claim of a sentence fits the loss with its interval."""
    sentence, loss, smallest = degradation.sentence, degradation.estimated_loss, degradation.smallest_loss
    assert smallest is not None
    claim = claim_of(sentence)
    size = loss.value if loss else 0.0
    is_positive = loss is not None and loss.is_positive
    if claim == AS_WELL:
        assert not is_positive
        assert size < smallest
        assert "show a loss" not in sentence
    elif claim in (UNCHANGED, CONTRADICTED):
        assert loss is not None
        assert not is_positive
        assert loss.high < smallest
        assert "show a loss" not in sentence
    elif claim in (NOT_CONFIRMED, RECOVERED):
        assert not is_positive or "too few labels are of the rows since then" in sentence
    elif claim in (SMALLER, SMALLER_NOW):
        assert is_positive
        assert size < smallest
    first = sentence.partition(". ")[0]
    has_no_loss = bool(NO_LOSS.search(first.partition(";")[0])) and "Before" not in sentence
    if claim and has_no_loss:
        assert not is_positive
    if degradation.verdict is Verdict.ALARM and not degradation.closing:
        assert loss is None or is_positive
    if sentence.startswith(("No alarm: ", "No alarm yet: ")) and "of rows until" not in sentence:
        assert is_positive


@pytest.mark.parametrize("seed", SEEDS)
def test_no_sentence_contradicts_its_numbers(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    results = [d for d in degradations(seed, monkeypatch) if not d.waiting]
    assert len(results) > 10
    for degradation in results:
        check_no_contradiction(degradation)


def random_source(rng: np.random.Generator, hours: int, rows: int) -> SourceState:
    """Return charts with up to three levels of loss, one block an hour; the newest hours may be missing."""
    count = int(rng.integers(1, hours + 1))
    levels = rng.choice([-0.03, 0.0, 0.01, 0.02, 0.04, 0.1], 3)
    ends = np.sort(rng.integers(0, count + 1, 2))
    losses = np.concatenate(
        [np.full(n, level) for n, level in zip(np.diff([0, *ends, count]), levels, strict=True)]
    )
    summaries = blocks(*(losses + rng.normal(0, 0.3 / rows**0.5, count)).tolist(), rows=rows)
    raised = bool(rng.random() < 0.5)
    score = float(rng.choice([0.0, 0.7, 1.01, 3.0]))
    sums = (50.0, 50.0) if score >= 1 else (0.0, 0.0)
    return SourceState(sums, score, summaries, raised, int(rng.integers(1, count + 1)) if raised else 0)


def random_state(seed: int) -> EvidenceState:
    rng = np.random.default_rng(seed)
    hours = int(rng.integers(1, 9))
    suspects = (Suspect("a", 1.0, "median 10 → 12"),) if rng.random() < 0.5 else ()
    suspicion = None
    if rng.random() < 0.4:
        labels = int(rng.choice([0, 60, 150, 800]))
        since = START + timedelta(hours=int(rng.integers(0, hours)))
        errors = labels * float(rng.choice([0.0, 0.1, 0.2]))
        suspicion = Suspicion(since, (ColumnCondition("a", "null"),), labels, errors)
    return EvidenceState(
        rows=500 * hours,
        estimate=random_source(rng, hours, 500),
        labels=random_source(rng, hours, int(rng.choice([60, 100, 500])))
        if rng.random() < 0.9
        else SourceState(),
        alarm=bool(rng.random() < 0.5),
        contradicted=bool(rng.random() < 0.3),
        suspicion=suspicion,
        explanation=BlockExplanation("", suspects),
    )


def test_no_sentence_contradicts_its_numbers_in_states_of_the_charts() -> None:
    """Also in states that streams seldom reach, and on pages and in messages."""
    claims: Counter[str] = Counter()
    for seed in range(400):
        degradation = result(random_state(seed))
        check_no_contradiction(degradation)
        check_consistent(degradation)
        claims[claim_of(degradation.sentence)] += 1
    assert len(claims) >= 7, claims


LOSSES = [
    Interval(value, value - width * below, value + width * above)
    for value in (-0.05, -0.004, 0.004, 0.015, 0.03, 0.1)
    for width in (0.002, 0.01, 0.06)
    for below, above in ((1.0, 1.0), (0.3, 2.0))
]


@pytest.mark.parametrize("which", ["", "; suspect columns: a"])
def test_every_size_of_a_loss_has_a_true_sentence(which: str) -> None:
    """All sentences without an alarm, over all positions of an interval about zero and the smallest loss."""
    scale = loss_scale(evidence())
    assert scale.smallest == 0.02
    claims: Counter[str] = Counter()
    for loss in LOSSES:
        texts = [
            contradicted_text(loss, scale, "", which),
            recovered_text(loss, scale, ""),
            accumulated_text(loss, scale, which),
            closing_text(loss, scale, ""),
        ]
        if loss.is_positive or loss.value >= scale.smallest:
            texts.append(quiet_text(loss, scale))
        for text in texts:
            state = Degradation(Verdict.WARNING, text, estimated_loss=loss, smallest_loss=scale.smallest)
            check_no_contradiction(state)
            assert ("may be chance" in text) <= loss.is_positive
            assert (" show no loss" in text) <= (loss.high <= 0)
            claims[claim_of(text)] += 1
    unchanged = UNCHANGED if which else CONTRADICTED
    assert claims.keys() == {"", unchanged, NOT_CONFIRMED, SMALLER, SMALLER_NOW, RECOVERED, ACCUMULATED}
