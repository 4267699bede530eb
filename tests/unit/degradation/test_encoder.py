from __future__ import annotations

import numpy as np
import pytest

from driftbell.degradation.encoder import MAX_ABSOLUTE, Encoder
from driftbell.tabular.columns import as_columns


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    rows = 60
    table = {
        "n": [float(i) for i in range(rows)],
        "c": ["low", "mid", "high"] * 20,
        "flag": [True, False] * 30,
        "empty": [None] * rows,
        "id": [f"row {i}" for i in range(rows)],
        "same": [7.0] * rows,
    }
    return Encoder(as_columns(table), np.array([0.0, 0.5, 1.0] * 20))


def test_columns_of_nulls_or_of_distinct_texts_are_left_out(encoder: Encoder) -> None:
    assert encoder.names == ("n", "c", "flag", "same")
    assert encoder.numeric == (True, False, False, True)


def test_categories_are_ranked_by_the_score(encoder: Encoder) -> None:
    matrix = encoder(as_columns({"c": ["high", "low", "mid", None, "new"]}), 5)
    assert matrix[:3, 1].tolist() == [2.0, 0.0, 1.0]
    assert np.isnan(matrix[3:, 1]).all()


def test_a_rare_category_is_shrunk_to_the_mean() -> None:
    cells = ["often"] * 50 + ["never"] * 49 + ["once"]
    score = np.array([0.9] * 50 + [0.1] * 49 + [1.0])
    matrix = Encoder({"c": np.array(cells, dtype=object)}, score)(
        as_columns({"c": ["never", "once", "often"]}), 3
    )
    assert matrix[:, 0].tolist() == [0.0, 1.0, 2.0]


def test_a_missing_column_is_null_and_infinity_is_clipped(encoder: Encoder) -> None:
    matrix = encoder(as_columns({"n": [np.inf, -np.inf, 1.0]}), 3)
    assert matrix[:, 0].tolist() == [MAX_ABSOLUTE, -MAX_ABSOLUTE, 1.0]
    assert np.isnan(matrix[:, 1:]).all()


def test_a_column_of_another_kind_does_not_fail(encoder: Encoder) -> None:
    matrix = encoder(as_columns({"n": ["a", "b"], "c": [1.0, 2.0], "flag": [None, True]}), 2)
    assert matrix.shape == (2, 4)
    assert np.isnan(matrix[:, :2]).all()


def test_unseen_marks_only_new_categories(encoder: Encoder) -> None:
    table = as_columns({"n": [1.0, 2.0, 3.0], "c": ["low", "new", None]})
    rows, cells = encoder.unseen(table, 1)
    assert rows.tolist() == [False, True, False]
    assert cells == ["low", "new", None]
    assert encoder.unseen(table, 0) is None
    assert encoder.unseen({}, 1) is None


def test_no_rows_and_no_columns() -> None:
    assert Encoder({}, np.zeros(5))({}, 3).shape == (3, 0)
    assert Encoder(as_columns({"n": [1.0, 2.0]}), np.zeros(2))(as_columns({"n": []}), 0).shape == (0, 1)


@pytest.mark.parametrize("reversed_sides", [True, False])
def test_single_precision_is_the_same_number(reversed_sides: bool) -> None:
    double = np.tile([0.1, 0.2, 0.3], 20)
    sides = [double, double.astype(np.float32).astype(np.float64)]
    before, now = sides[::-1] if reversed_sides else sides
    matrix = Encoder({"x": before}, np.zeros(60))({"x": now}, 60)
    assert matrix[:, 0].tolist() == before.tolist()
