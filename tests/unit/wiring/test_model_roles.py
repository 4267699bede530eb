from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from driftbell import ConfigError, InputError, TableCheck, Verdict, check
from driftbell.stats import wilson

ROWS = 600


def answers(rows: int, seed: int, *, wrong: float = 0.1, labelled: float = 1.0) -> dict[str, Any]:
    """Return a table of a classifier: a feature, predictions, probabilities and labels."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows)
    p = 1 / (1 + np.exp(-3 * x))
    answer = np.where(p > 0.5, "yes", "no")
    other = np.where(p > 0.5, "no", "yes")
    truth = np.where(rng.random(rows) < wrong, other, answer)
    return {
        "x": x,
        "answer": answer.tolist(),
        "p": p,
        "y": [t if rng.random() < labelled else None for t in truth],
    }


def amounts(rows: int, seed: int, noise: float = 1.0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    x = rng.normal(50, 10, rows)
    return {"x": x, "answer": 2 * x, "y": (2 * x + rng.normal(0, noise, rows)).tolist()}


def measured(reference: Any, current: Any, **options: Any) -> TableCheck:
    return check(reference, current, **{"prediction": "answer", "label": "y", **options})


def by_name(result: TableCheck) -> dict[str, Any]:
    return {metric.name: metric for metric in result.performance.metrics}


def test_every_metric_is_measured_on_both_sides() -> None:
    tables = answers(ROWS, 0), answers(ROWS, 1)
    result = measured(*tables, probabilities={"yes": "p"})
    assert result.verdict is Verdict.OK
    assert result.performance.labelled == (ROWS, ROWS)
    by_metric = by_name(result)
    for table, side in zip(tables, ("reference", "current"), strict=True):
        right = sum(a == y for a, y in zip(table["answer"], table["y"], strict=True))
        truth = np.array(table["y"]) == "yes"
        expected = {
            "accuracy": right / ROWS,
            "balanced_accuracy": metrics.balanced_accuracy_score(table["y"], table["answer"]),
            "precision": metrics.precision_score(table["y"], table["answer"], average="macro"),
            "recall": metrics.recall_score(table["y"], table["answer"], average="macro"),
            "f1": metrics.f1_score(table["y"], table["answer"], average="macro"),
            "log_loss": metrics.log_loss(truth, table["p"]),
            "roc_auc": metrics.roc_auc_score(truth, table["p"]),
        }
        assert getattr(by_metric["accuracy"], side) == wilson(right, ROWS)
        for name, value in expected.items():
            assert getattr(by_metric[name], side).value == pytest.approx(value, abs=1e-12), name


def test_a_loss_is_an_alarm_and_drift_alone_is_not() -> None:
    reference = answers(ROWS, 0)
    worse = measured(reference, answers(ROWS, 1, wrong=0.25))
    assert worse.verdict is Verdict.ALARM
    assert worse.sentence.startswith("The model performs worse: accuracy 9")
    assert worse.performance.loss.low > 0.02
    with pytest.raises(AssertionError, match="The model performs worse"):
        worse.assert_stable()
    moved = answers(ROWS, 1)
    moved["x"] = moved["x"] + 1
    drift = measured(reference, moved)
    assert drift.verdict is Verdict.WARNING
    assert drift.judgement.degradation.verdict is Verdict.OK
    assert "loss can be seen" in drift.sentence


def test_a_loss_below_the_smallest_one_is_no_alarm() -> None:
    tables = answers(ROWS, 0), answers(ROWS, 1, wrong=0.25)
    result = measured(*tables, smallest_loss=0.5)
    assert result.verdict is Verdict.OK
    assert "smaller than the smallest relevant one (50.0 points)" in result.sentence
    result.assert_stable()


def test_a_loss_that_may_be_chance_is_no_alarm() -> None:
    result = measured(answers(ROWS, 0, wrong=0.1), answers(60, 3, wrong=0.2))
    assert result.performance.loss.value > 0.02
    assert result.verdict is Verdict.OK
    assert "may be chance with 60 labels (p 0.0" in result.sentence


@pytest.mark.parametrize("missing", ["null", "column"])
@pytest.mark.parametrize("side", [0, 1])
def test_without_labels_on_one_side_the_answer_is_unknown(side: int, missing: str) -> None:
    tables = [answers(ROWS, 0), answers(ROWS, 1)]
    if missing == "null":
        tables[side]["y"] = [None] * ROWS
    else:
        del tables[side]["y"]
    result = measured(*tables)
    assert result.verdict is Verdict.UNKNOWN
    name = ("reference", "current table")[side]
    assert f"cannot tell whether the model performs worse, no labels in the {name}." in result.sentence
    other = ("current table", "reference")[side]
    assert f"on the {other}: " in result.sentence
    with pytest.raises(AssertionError, match="cannot tell"):
        result.assert_stable()
    result.assert_stable("x", "answer")


def test_few_labels_are_unknown_unless_the_loss_is_certain() -> None:
    reference = answers(ROWS, 0)
    few = answers(ROWS, 1)
    few["y"] = [*few["y"][:12], *[None] * (ROWS - 12)]
    result = measured(reference, few)
    assert result.verdict is Verdict.UNKNOWN
    assert "12 labels in the current table" in result.sentence
    few["y"][:12] = ["no" if a == "yes" else "yes" for a in few["answer"][:12]]
    assert measured(reference, few).verdict is Verdict.ALARM


def test_labels_that_have_not_arrived_are_no_drift_of_the_target() -> None:
    result = measured(answers(ROWS, 0), answers(ROWS, 1, labelled=0.3))
    assert result.verdict is Verdict.OK
    assert 150 < result.performance.labelled[1] < 210


def test_the_target_is_a_row_of_its_own() -> None:
    reference, current = answers(ROWS, 0), answers(ROWS, 1)
    rare = [i for i, y in enumerate(current["y"]) if y == "no"][:200]
    current["y"] = [None if i in rare else y for i, y in enumerate(current["y"])]
    result = measured(reference, current)
    target = next(c for c in result.columns if c.column == "y")
    assert target.comparison.role == "target"
    assert target.drifted
    assert target.adjusted_p_value < 1e-6
    assert "No drift in the other columns: all 3 columns" in result.sentence
    assert "Drift in the target y: yes " in result.sentence


def test_predictions_without_labels_only_name_the_columns() -> None:
    tables = answers(ROWS, 0), answers(ROWS, 1)
    result = check(*tables, prediction="answer", probabilities={"yes": "p"})
    roles = {c.column: c.comparison.role for c in result.columns}
    assert roles == {"x": "feature", "answer": "prediction", "p": "probability", "y": "feature"}
    assert result.performance is None
    assert result.judgement.degradation is None


def test_a_regression_is_measured_by_its_errors() -> None:
    reference, current = amounts(ROWS, 0), amounts(ROWS, 1)
    result = measured(reference, current)
    assert result.verdict is Verdict.OK
    assert [m.name for m in result.performance.metrics] == ["mae", "rmse", "r2"]
    expected = metrics.mean_absolute_error(reference["y"], reference["answer"])
    assert by_name(result)["mae"].reference.value == pytest.approx(expected, abs=1e-12)
    assert result.performance.smallest_loss == pytest.approx(0.1 * expected)
    assert measured(reference, amounts(ROWS, 1, noise=1.4)).verdict is Verdict.ALARM


@pytest.mark.parametrize("side", [0, 1])
def test_a_mistyped_label_of_a_regression_is_named_and_left_out(side: int) -> None:
    tables = amounts(ROWS, 0), amounts(ROWS, 1)
    tables[side]["y"][7] = "n.n."
    result = measured(*tables)
    assert result.performance.labelled[side] == ROWS - 1
    name = ("reference", "current table")[side]
    assert result.performance.notes == (
        f"column 'y' of the {name}: 1 of {ROWS} labels are not numbers and are left out: 'n.n.'",
    )
    target = next(c for c in result.columns if c.column == "y")
    assert target.comparison.unreadable[side] == 1


@pytest.mark.parametrize("side", [0, 1])
def test_a_mistyped_label_among_class_numbers_counts_as_wrong(tmp_path: Path, side: int) -> None:
    tables = [answers(ROWS, seed) for seed in (0, 1)]
    paths = []
    for i, table in enumerate(tables):
        codes = [{"yes": "1", "no": "0"}[a] for a in table["answer"]]
        lines = [f"{x:.3f},{c},{c}" for x, c in zip(table["x"], codes, strict=True)]
        if i == side:
            lines[5] = f"{lines[5][:-1]}x"
        paths.append(tmp_path / f"{i}.csv")
        paths[-1].write_text("\n".join(["x,answer,y", *lines]))
    result = measured(*paths)
    accuracy = by_name(result)["accuracy"]
    assert (accuracy.reference, accuracy.current)[side] == wilson(ROWS - 1, ROWS)
    balanced = by_name(result)["balanced_accuracy"]
    assert (balanced.reference, balanced.current)[side].value == 1
    assert (
        "1 of 600 labels equal no predicted class (1 and 0) and count as wrong: 'x'"
        in (result.performance.notes[0])
    )


def test_labels_of_another_spelling_are_refused_with_both_lists() -> None:
    tables = answers(ROWS, 0), answers(ROWS, 1)
    for table in tables:
        table["y"] = [y.upper() for y in table["y"]]
    with pytest.raises(InputError, match=r"no label equals a predicted class\. Labels: 'YES' and 'NO'; pred"):
        measured(*tables)


def test_whole_numbers_that_may_be_amounts_need_the_task() -> None:
    tables = [{"x": np.arange(ROWS) % 7, "answer": np.arange(ROWS) % 30} for _ in range(2)]
    for table in tables:
        table["y"] = table["answer"]
    with pytest.raises(InputError, match=r"30 different whole numbers.* --task"):
        measured(*tables)
    assert measured(*tables, task="regression").performance.task == "regression"
    assert measured(*tables, task="classification").performance.task == "classification"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": "y"}, "need the predictions: pass --prediction"),
        ({"probabilities": {"yes": "p"}}, "need the predictions: pass --prediction"),
        ({"prediction": "answer", "task": "regression"}, "need labels: pass --label"),
        ({"prediction": "answer", "smallest_loss": 0.1}, "need labels: pass --label"),
        ({"prediction": "answer", "label": "y", "smallest_loss": -1}, "must be more than 0: .* got -1"),
        ({"prediction": "anser"}, "no column 'anser' .prediction.: did you mean 'answer'"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check(answers(ROWS, 0), answers(ROWS, 1), **options)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(InputError, match="the current table has no column 'answer'"):
        measured(answers(ROWS, 0), {"y": ["yes"] * 50})
    with pytest.raises(InputError, match="neither table has a column 'truth'"):
        measured(answers(ROWS, 0), answers(ROWS, 1), label="truth")


def test_the_json_has_the_performance_of_both_sides() -> None:
    result = measured(answers(ROWS, 0), answers(ROWS, 1, wrong=0.25))
    document = json.loads(result.to_json())
    assert document["verdict"] == document["degradation"]["verdict"] == "alarm"
    accuracy = document["performance"]["metrics"][0]
    assert accuracy["name"] == "accuracy"
    assert accuracy["reference"]["low"] < accuracy["reference"]["value"] < accuracy["reference"]["high"]
    assert document["performance"]["p_value"] < 0.001
    assert "performance" not in json.loads(check({"x": [1.0] * 50}, {"x": [1.0] * 50}).to_json())


def test_documents_show_the_metrics_of_both_sides() -> None:
    current = answers(ROWS, 1, wrong=0.25)
    current["y"][0] = "<maybe>"
    result = measured(answers(ROWS, 0), current)
    html, markdown, notebook = result.to_html(), result.to_markdown(), result._repr_html_()
    for document in (html, markdown, notebook):
        assert "balanced accuracy" in document
        assert "Ranges are" in document or document is notebook
        assert "<maybe>" not in document
    assert "The model performs worse: " in html
    assert "probably performs worse" not in html
    assert "Does the model perform worse?" in html
    assert "The smallest loss that is an alarm: 2.0 points." in html
    plain = check(answers(ROWS, 0), current)
    assert "Does the model perform worse?" not in plain.to_html()


@pytest.mark.parametrize("side", [0, 1])
def test_lists_are_no_labels(side: int) -> None:
    tables = answers(ROWS, 0), answers(ROWS, 1)
    tables[side]["y"] = [["yes"]] * ROWS
    name = ("reference", "current table")[side]
    with pytest.raises(InputError, match=f"column 'y' of the {name}.* (has lists|are not categorical)"):
        measured(*tables)
