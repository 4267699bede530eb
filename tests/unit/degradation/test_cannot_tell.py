"""Where only labels can tell whether the model performs worse, verdict and sentence say so."""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np
import pytest
from tests.degradation_tasks import answers, evidence, table
from tests.unit.degradation.test_loss_sentence import blocks, result
from tests.unit.degradation.test_no_contradictions import random_state

from driftbell.alarms.verdict import combine
from driftbell.degradation.claims import CANNOT_TELL
from driftbell.degradation.explain import explain_block
from driftbell.records import BlindSpot, EvidenceState, Judgement, Verdict
from driftbell.records.check_state import SourceState


def test_a_sentence_cannot_tell_if_and_only_if_labels_are_needed() -> None:
    """Also for suspected rows that no label covers, beside labels of other rows that show no loss."""
    verdicts: Counter[Verdict] = Counter()
    for seed in range(600):
        degradation = result(random_state(seed))
        assert degradation.sentence.startswith(CANNOT_TELL) == degradation.needs_labels
        if degradation.needs_labels:
            assert combine(Judgement(Verdict.OK, "No drift."), degradation).verdict is Verdict.WARNING
            assert degradation.sentence.startswith(f"{CANNOT_TELL}. The newest ")
            assert " of suspected rows (a, since " in degradation.sentence
        verdicts[degradation.verdict] += 1
    assert verdicts[Verdict.UNKNOWN] > 10


def test_evidence_that_rows_with_an_unknown_loss_may_confirm_needs_labels() -> None:
    *before, newest = blocks(0.1, -0.06, -0.06, -0.06)
    newest = msgspec.structs.replace(newest, blind=BlindSpot(0.2, "age", "unseen", 0.2))
    estimate = SourceState((50.0, 50.0), 1.2, (*before, newest))
    degradation = result(EvidenceState(rows=2000, estimate=estimate))
    assert degradation.verdict is Verdict.UNKNOWN
    assert degradation.needs_labels
    assert degradation.sentence.startswith(
        f"{CANNOT_TELL}: evidence of a loss has accumulated, and 20% of the 500 rows until "
    )
    assert (
        "up to 20.0 points of accuracy may be lost, and only labels of these rows show it"
        in degradation.sentence
    )


def test_rows_to_label_measure_the_loss_of_all_rows() -> None:
    """The rows that are most probably wrong would measure a loss of some 30 points where nothing is lost."""
    charts = evidence("labelled", 4000)
    rates, wrong = [], []
    for seed in range(40, 52):
        columns, truth = table(500, seed)
        given = answers(columns)
        block = charts.examine(columns, given)
        ids = [str(i) for i in range(500)]
        chosen = explain_block(charts, block, columns, given, ids, in_detail=True).to_label
        assert len(set(chosen)) == 300
        chosen = chosen[:100]
        errors = given.values != truth
        rates.append(float(np.mean(errors[[int(i) for i in chosen]])))
        wrong.append(float(np.mean(errors)))
    assert np.mean(rates) == pytest.approx(np.mean(wrong), abs=0.03)  # three standard errors
