from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from driftbell.degradation.answer_checks import find_threshold
from driftbell.errors import InputError
from driftbell.simulation.backtest import backtest
from driftbell.simulation.backtest_checks import BacktestCheck

ROWS = 300


def table(rows: int, seed: int, labels: tuple[Any, Any] = (0, 1), wrong: float = 0.1) -> dict[str, Any]:
    """Return a table of answers 0 and 1, of which some are wrong, with probabilities."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows)
    answer = (x > 0).astype(int)
    truth = np.where(rng.random(rows) < wrong, 1 - answer, answer)
    p = 1 / (1 + np.exp(-3 * x))
    return {
        "x": x,
        "answer": answer.tolist(),
        "p0": 1 - p,
        "p1": p,
        "y": [labels[i] for i in truth],
    }


def run(
    reference: dict[str, Any] | Path, stream: dict[str, Any] | Path, **options: Any
) -> list[BacktestCheck]:
    usual = {"budget": "1 per 100 checks", "prediction": "answer", "label": "y", "window_rows": 100}
    return list(backtest(reference, stream, **{**usual, **options}))


PAIR = {0: "p0", 1: "p1"}


@pytest.mark.parametrize("labels", [("no", "yes"), ("N", "Y"), (10, 11)])
def test_labels_that_are_no_predicted_class_are_refused_with_both_lists(labels: tuple[Any, Any]) -> None:
    with pytest.raises(InputError) as refused:
        run(table(ROWS, 0, labels), table(ROWS, 1, labels))
    message = str(refused.value)
    assert "column 'y' of the reference: no label equals a predicted class." in message
    assert f"'{labels[0]}'" in message
    assert "predicted classes: 1 and 0" in message


@pytest.mark.parametrize("labels", [("no", "yes"), (10, 11)])
def test_labels_of_the_stream_alone_that_are_no_predicted_class_are_refused(labels: tuple[Any, Any]) -> None:
    with pytest.raises(InputError, match="column 'y' of the stream: "):
        run(table(ROWS, 0), table(ROWS, 1, labels))


def test_some_unknown_labels_are_named_and_count_as_wrong() -> None:
    reference, stream = table(ROWS, 0), table(ROWS, 1)
    words = {0: "no", 1: "yes"}
    for columns in (reference, stream):
        columns["answer"] = [words[i] for i in columns["answer"]]
        columns["y"] = [words[i] for i in columns["y"]]
    stream["y"][:7] = ["Yes"] * 7
    checks = run(reference, stream)
    assert checks[0].notes == (
        "column 'y' of the stream: 7 of 300 labels equal no predicted class (yes and no) and count as wrong: "
        "'Yes'",
    )


def as_text(table: dict[str, Any], path: Path, mistyped: str = "") -> Path:
    """Write a table as a text file, with a mistyped label in the fourth row."""
    lines = [[str(cell) for cell in row] for row in zip(*table.values(), strict=True)]
    if mistyped:
        lines[3][list(table).index("y")] = mistyped
    path.write_text("\n".join(map(",".join, [list(table), *lines])))
    return path


@pytest.mark.parametrize("side", ["reference", "stream"])
@pytest.mark.parametrize("cell", ["x", "yes"])
def test_a_mistyped_label_among_numbers_is_an_unknown_class(tmp_path: Path, side: str, cell: str) -> None:
    tables = {"reference": table(ROWS, 0), "stream": table(ROWS, 1)}
    paths = {
        name: as_text(columns, tmp_path / f"{name}.csv", cell if name == side else "")
        for name, columns in tables.items()
    }
    checks = run(paths["reference"], paths["stream"])
    assert checks[0].notes == (
        f"column 'y' of the {side}: 1 of 300 labels equal no predicted class (1 and 0) and count as wrong: "
        f"'{cell}'",
    )
    right = [a == y for a, y in zip(tables["reference"]["answer"], tables["reference"]["y"], strict=True)]
    right[3] = right[3] and side == "stream"
    assert checks[0].reference_score == pytest.approx(np.mean(right))


@pytest.mark.parametrize("cells", [["x"], ["12 %", "x"]])
@pytest.mark.parametrize("side", ["reference", "stream"])
def test_a_mistyped_label_of_a_regression_is_left_out(side: str, cells: list[str]) -> None:
    tables = {name: amounts(ROWS, seed) for seed, name in enumerate(("reference", "stream"))}
    tables[side]["y"][3 : 3 + len(cells)] = cells
    checks = run(tables["reference"], tables["stream"])
    count, names = len(cells), " and ".join(f"'{cell}'" for cell in cells)
    assert checks[0].notes == (
        f"column 'y' of the {side}: {count} of 300 labels are not numbers and are left out: {names}",
    )
    assert checks[0].reference_metric == "mean absolute error"
    pairs = zip(tables["reference"]["answer"], tables["reference"]["y"], strict=True)
    errors = [abs(a - y) for a, y in pairs if not isinstance(y, str)]
    assert checks[0].reference_score == pytest.approx(np.mean(errors))


def test_a_label_with_a_decimal_comma_among_numbers_is_read() -> None:
    tables = [amounts(ROWS, seed) for seed in (0, 1)]
    tables[0]["y"][3] = "1,5"
    checks = run(*tables)
    assert checks[0].notes == ()
    labels = [1.5 if y == "1,5" else y for y in tables[0]["y"]]
    errors = [abs(a - y) for a, y in zip(tables[0]["answer"], labels, strict=True)]
    assert checks[0].reference_score == pytest.approx(np.mean(errors))


def test_a_regression_without_a_label_that_is_a_number_is_refused() -> None:
    tables = [amounts(ROWS, seed) for seed in (0, 1)]
    tables[1]["y"] = ["low"] * ROWS
    with pytest.raises(InputError, match=r"column 'y' of the stream: no label is a number.* Labels: 'low'"):
        run(*tables)


def amounts(rows: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    answer = rng.normal(50, 10, rows)
    return {"x": answer, "answer": answer.tolist(), "y": (answer + rng.normal(size=rows)).tolist()}


def test_the_score_of_the_reference_is_in_every_check() -> None:
    reference = table(ROWS, 0)
    checks = run(reference, table(ROWS, 1))
    right = np.mean([a == y for a, y in zip(reference["answer"], reference["y"], strict=True)])
    assert [c.reference_score for c in checks] == pytest.approx([right] * 3)
    assert checks[0].reference_metric == "accuracy"
    del reference["y"]
    assert run(reference, table(ROWS, 1))[0].reference_score is None


def test_probabilities_that_do_not_sum_to_one_are_refused() -> None:
    stream = table(ROWS, 1)
    stream["p0"][3] = stream["p1"][3] = 0.2
    with pytest.raises(
        InputError, match=r"stream must sum to 1: they do not in 1 of 300 rows, such as row 3"
    ):
        run(table(ROWS, 0), stream, probabilities=PAIR)


def test_probabilities_with_two_decimals_are_accepted() -> None:
    tables = table(ROWS, 0), table(ROWS, 1)
    for columns in tables:
        columns["p0"], columns["p1"] = np.round(columns["p0"], 2), np.round(columns["p1"], 2)
    assert run(*tables, probabilities=PAIR)[0].notes == ()


def test_probabilities_of_another_class_are_refused() -> None:
    with pytest.raises(InputError, match="belong to other classes than the predictions: "):
        run(table(ROWS, 0), table(ROWS, 1), probabilities={0: "p1", 1: "p0"})


def test_some_predictions_that_are_not_the_most_probable_class_are_named() -> None:
    stream = table(ROWS, 1)
    stream["answer"][::9] = [1 - answer for answer in stream["answer"][::9]]
    (note,) = run(table(ROWS, 0), stream, probabilities=PAIR)[0].notes
    assert "predictions of the stream are not the most probable class, such as row " in note


def with_threshold(columns: dict[str, Any], threshold: float) -> dict[str, Any]:
    return columns | {"answer": (columns["p1"] >= threshold).astype(int).tolist()}


@pytest.mark.parametrize("threshold", [0.3, 0.8])
def test_predictions_that_follow_a_threshold_are_described(threshold: float) -> None:
    reference, stream = (with_threshold(table(ROWS, seed), threshold) for seed in (0, 1))
    checks = run(reference, stream, probabilities=PAIR, budget="1 per 1000 checks")
    assert {c.verdict.value for c in checks} == {"ok"}
    p = np.array(stream["p1"])
    low = p[p >= 0.8].min() if threshold == 0.8 else (1 - p[p < 0.3]).min()
    between = np.count_nonzero((p >= min(threshold, 0.51)) & (p < max(threshold, 0.49)))
    assert checks[0].notes[1] == (
        f"predictions of the stream are '{int(threshold > 0.5)}' from a probability of {low:.3g}: "
        f"{between} of 300 are not the most probable class"
    )


def test_a_threshold_that_decides_most_predictions_is_no_mistake() -> None:
    reference, stream = (with_threshold(table(ROWS, seed), 0.999) for seed in (0, 1))
    for columns in (reference, stream):  # three rows of four lie between a half and the threshold
        low = np.array(columns["p1"]) < 0.5
        columns["p1"] = np.where(low & (np.arange(ROWS) % 2 == 0), 0.7, columns["p1"])
        columns["p0"] = 1 - columns["p1"]
    notes = run(reference, stream, probabilities=PAIR)[0].notes
    assert [note.partition(" from ")[0] for note in notes] == [
        "predictions of the reference are '1'",
        "predictions of the stream are '1'",
    ]
    stream["answer"] = [0] * ROWS  # no row reaches the threshold: it is that of the reference
    stream["p1"] = np.minimum(stream["p1"], 0.99)
    stream["p0"] = 1 - stream["p1"]
    assert len(run(reference, stream, probabilities=PAIR)[0].notes) == 2
    with pytest.raises(InputError, match="the reference belong to other classes than the predictions"):
        run(stream, stream, probabilities=PAIR)


def test_a_threshold_of_one_of_three_classes_is_found() -> None:
    rng = np.random.default_rng(0)
    shares = rng.dirichlet([2, 1, 1], 500)
    others = np.argmax(shares[:, 1:], axis=1) + 1
    predicted = np.where(shares[:, 0] >= 0.8, 0, others).astype(float)
    found = find_threshold(shares, predicted)
    assert found is not None
    assert found.class_id == 0
    assert found.highest < 0.8 <= found.lowest
    assert find_threshold(shares, np.roll(predicted, 1)) is None
    assert find_threshold(shares, others.astype(float)) is None
    assert find_threshold(shares[:, [1, 0, 2]], predicted) is None


def numbers(rows: int, seed: int, values: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    answer = rng.integers(0, values, rows)
    return {"x": answer + rng.normal(size=rows), "answer": answer, "y": answer}


def test_many_whole_numbers_need_the_task() -> None:
    tables = numbers(ROWS, 0, 25), numbers(ROWS, 1, 25)
    with pytest.raises(InputError, match="25 different whole numbers, which may be classes or amounts"):
        run(*tables)
    assert run(*tables, task="classification")[0].reference_metric == "accuracy"
    assert run(*tables, task="regression")[0].reference_metric == "mean absolute error"
    assert run(numbers(ROWS, 0, 5), numbers(ROWS, 1, 5))[0].reference_metric == "accuracy"
    with pytest.raises(InputError, match="task must be"):
        run(*tables, task="ranking")


def test_a_stream_in_single_precision_is_not_drift_and_raises_no_alarm() -> None:
    rng = np.random.default_rng(0)
    x = rng.choice([0.1, 0.2, 0.3], 900)
    answer = (x > 0.15).astype(int)
    stream = {"x": x[300:].astype(np.float32), "answer": answer[300:], "y": answer[300:]}
    checks = run({"x": x[:300], "answer": answer[:300], "y": answer[:300]}, stream)
    assert {c.verdict.value for c in checks} == {"ok"}
    assert max(c.score for c in checks) < 0.5
