"""Estimates with a data fault do not depend on which rows a block has by chance."""

from __future__ import annotations

import numpy as np
import pytest
from tests.degradation_tasks import answers, evidence, table

from driftbell.degradation.cusum import CusumCharts
from driftbell.degradation.data_faults import Diagnosis
from driftbell.degradation.reference_models import Vector
from driftbell.degradation.row_mix import RowMix

ROWS, BLOCKS = 200, 40


@pytest.fixture(scope="module")
def charts() -> CusumCharts:
    return evidence(rows=2000)


def with_nulls(seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    columns, truth = table(ROWS, seed)
    lost = np.random.default_rng(seed).random(ROWS) < 0.4
    return columns | {"b": np.where(lost, np.nan, columns["b"])}, truth


def raw_errors(charts: CusumCharts, columns: dict[str, np.ndarray], diagnosis: Diagnosis) -> Vector:
    learned = charts.learned
    matrix = learned.encoder(columns, ROWS)
    without = frozenset(fault.place for fault in diagnosis.broken)
    rows = np.logical_or.reduce([fault.rows for fault in diagnosis.broken])
    broken = learned.error_by_features(matrix, answers(columns), without)
    return np.where(rows, broken, learned.error_by_features(matrix, answers(columns)))


def test_the_loss_by_broken_values_scatters_less_and_is_right(charts: CusumCharts) -> None:
    estimated, raw, true = [], [], []
    for seed in range(100, 100 + BLOCKS):
        columns, truth = with_nulls(seed)
        block = charts.examine(columns, answers(columns))
        assert block.diagnosis
        estimated.append(block.loss)
        raw.append(float(raw_errors(charts, columns, block.diagnosis).mean()) - charts.by_features.mean)
        true.append(float((answers(columns).values != truth).mean()) - float(charts.learned.errors.mean()))
    assert np.std(estimated) < 0.9 * np.std(raw)
    assert np.mean(estimated) == pytest.approx(np.mean(raw), abs=0.005)
    assert np.mean(estimated) == pytest.approx(np.mean(true), abs=0.02)


def test_rows_that_are_certainly_harder_keep_their_loss(charts: CusumCharts) -> None:
    learned = charts.learned
    columns, _ = table(20_000, 7)
    confidence = answers(columns).confidence()
    hard = np.flatnonzero(confidence < 0.8)[:500]
    block = {k: v[hard] for k, v in columns.items()}
    matrix, given = learned.encoder(block, 500), answers(block)
    errors = learned.error_by_features(matrix, given)
    harder = float(errors.mean()) - charts.by_features.mean
    none = np.zeros(500, dtype=bool)
    left = RowMix(learned, 1.0).remove(errors, matrix, none, frozenset())
    assert harder > 0.05
    assert float(left.mean()) - charts.by_features.mean > 0.8 * harder
    assert len(RowMix(learned, 1.0).remove(errors[:0], matrix[:0], none[:0], frozenset())) == 0


def test_without_any_other_feature_the_usual_error_is_the_mean(charts: CusumCharts) -> None:
    columns, _ = table(ROWS, 8)
    learned = charts.learned
    matrix = learned.encoder(columns, ROWS)
    errors = learned.error_by_features(matrix, answers(columns))
    every = frozenset(range(matrix.shape[1]))
    kept = RowMix(learned, 1.0).remove(errors, matrix, np.ones(ROWS, dtype=bool), every)
    np.testing.assert_allclose(kept, errors)


def test_rows_without_a_fault_add_no_scatter(charts: CusumCharts) -> None:
    learned, mix = charts.learned, RowMix(charts.learned, 1.0)
    whole, paired = [], []
    for seed in range(100, 100 + BLOCKS):
        columns, _ = with_nulls(seed)
        matrix, place = learned.encoder(columns, ROWS), learned.encoder.names.index("b")
        broken = np.isnan(matrix[:, place])
        given, without = answers(columns), frozenset({place})
        errors = learned.error_by_features(matrix, given)
        errors = np.where(broken, learned.error_by_features(matrix, given, without), errors)
        whole.append(float(mix.remove(errors, matrix, broken, without).mean()))
        paired.append(float(mix.remove(errors, matrix, broken, without, ~broken).mean()))
    assert np.std(paired) < 0.85 * np.std(whole)
    assert np.mean(paired) == pytest.approx(np.mean(whole), abs=0.004)


def test_rows_without_a_fault_that_are_certainly_worse_keep_their_loss(charts: CusumCharts) -> None:
    learned, mix = charts.learned, RowMix(charts.learned, 1.0)
    columns, _ = with_nulls(300)
    matrix, place = learned.encoder(columns, ROWS), learned.encoder.names.index("b")
    broken = np.isnan(matrix[:, place])
    errors = learned.error_by_features(matrix, answers(columns))
    before = mix.remove(errors, matrix, broken, frozenset({place}), ~broken)
    after = mix.remove(errors + 0.2 * ~broken, matrix, broken, frozenset({place}), ~broken)
    increase = float((after - before)[~broken].mean())
    assert 0.15 < increase < 0.21
