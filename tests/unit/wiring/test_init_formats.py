"""`init_model` on models of other libraries, nulls among digits, and classes that are numbers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from tests.init_tables import FRAME, RNG, ROWS, run, served

from driftbell.errors import ConfigError
from driftbell.tabular.column_options import ColumnOptions


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    FRAME.to_csv(tmp_path / "past.csv", index=False)
    return tmp_path


CODES_OF_PLANS = np.arange(ROWS) % 3 == 0


def test_categories_of_lightgbm_and_names_with_spaces_are_known_from_the_model(folder: Path) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    zips = RNG.choice(["10115", "20095", "80331"], ROWS)
    table = pd.DataFrame(
        {
            "customer age": RNG.integers(18, 80, ROWS),
            "zip": pd.Categorical(zips),
            "plan": pd.Categorical(np.where(RNG.random(ROWS) < 0.1, None, FRAME["plan"])),
        }
    )
    label = np.where((table["zip"] == "10115") | (table["customer age"] > 60), "yes", "no")
    model = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1, min_child_samples=5).fit(table, label)
    joblib.dump(model, folder / "boost.joblib")
    table.assign(label=label).to_csv(folder / "boost.csv", index=False)
    result = run("boost.csv", "boost.joblib")
    assert [(f.name, f.type) for f in result.features][1:] == [("zip", "category"), ("plan", "category")]
    assert (result.features[0].name, result.target, result.golden_rows) == ("customer age", "label", 200)
    rows = json.loads(table.astype({"zip": str}).to_json(orient="records"))
    assert served(result, rows) == model.predict(table).tolist()


def test_a_null_among_digits_of_a_csv_stays_null(folder: Path) -> None:
    zips = np.where(RNG.random(ROWS) < 0.1, None, RNG.choice(["10115", "20095"], ROWS))
    table = pd.DataFrame({"zip": pd.Series(zips, dtype=object), "a": RNG.normal(size=ROWS)})
    label = np.where(table["zip"].isna() | (table["zip"] == "10115"), "yes", "no")
    encode = ColumnTransformer(
        [("zip", OneHotEncoder(handle_unknown="ignore"), ["zip"])], remainder="passthrough"
    )
    model = make_pipeline(encode, LogisticRegression()).fit(table.fillna(np.nan), label)
    joblib.dump(model, folder / "nulls.joblib")
    table.assign(label=label).to_csv(folder / "nulls.csv", index=False)
    result = run("nulls.csv", "nulls.joblib")
    assert (result.other_types, result.golden_rows) == ({"zip": "str"}, 200)
    rows = json.loads(table.to_json(orient="records"))
    assert served(result, rows) == model.predict(table.fillna(np.nan)).tolist()


def test_the_user_names_the_classes_of_numbers(folder: Path) -> None:
    table = FRAME[["tenure"]]
    joblib.dump(LogisticRegression().fit(table, (FRAME.churned == "yes").astype(int)), folder / "n.joblib")
    (warning,) = run("past.csv", "n.joblib").warnings
    assert warning.endswith("such as --classes 'no,yes'")
    with pytest.raises(ConfigError, match="or the classes by the model's numbers with --classes no,yes"):
        run("past.csv", "n.joblib", target="churned", force=True)
    result = run("past.csv", "n.joblib", classes=("no", "yes"), force=True)
    assert (result.classes, result.target) == (("no", "yes"), "churned")
    assert set(served(result, table.to_dict("records"))) == {"no", "yes"}


def test_a_function_of_numbers_and_a_label_of_two_values_get_the_advice_to_name_the_classes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    code = "def predict(table):\n    return table['tenure'] / 72.0\n"
    (folder / "scores_of_churn.py").write_text(code)
    digits = FRAME[["tenure"]].assign(left=(FRAME.churned == "yes").astype(int))
    digits.to_csv(folder / "digits.csv", index=False)
    FRAME[["tenure", "churned"]].to_csv(folder / "texts.csv", index=False)
    (warning,) = run("digits.csv", "scores_of_churn:predict", target="left").warnings
    assert warning.startswith("'left' has two values, and the model is a regression: if its numbers are")
    assert warning.endswith("name both with --classes '0,1'")
    with pytest.raises(ConfigError, match=r"no numbers, .*; if its numbers are scores .* --classes 'no,yes'"):
        run("texts.csv", "scores_of_churn:predict", target="churned", force=True)
    result = run("texts.csv", "scores_of_churn:predict", classes=("no", "yes"), force=True)
    assert (result.task, result.target, result.warnings) == ("classification", "churned", ())


def test_a_graph_of_one_number_and_a_label_of_two_values_name_the_option(folder: Path) -> None:
    onnx = pytest.importorskip("onnx")
    helper, single = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("ReduceSum", ["X"], ["s"], axes=[1], keepdims=1),
        helper.make_node("Sigmoid", ["s"], ["p"]),
    ]
    rows, answers = (helper.make_tensor_value_info(n, single, [None, w]) for n, w in (("X", 2), ("p", 1)))
    graph = helper.make_graph(nodes, "one", [rows], [answers])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8), "one.onnx")
    table = pd.DataFrame({"a": np.linspace(-1, 1, 200), "b": np.linspace(-1, 2, 200)})
    table.assign(y=(table["a"] > 0).astype(int)).to_csv("numbers.csv", index=False)
    table.assign(y=np.where(table["a"] > 0, "yes", "no")).to_csv("names.csv", index=False)
    warnings = run("numbers.csv", "one.onnx", target="y").warnings
    assert any("'y' has two values" in w and "--classes '0,1'" in w for w in warnings)
    with pytest.raises(ConfigError, match=r"name both with --classes 'no,yes'"):
        run("names.csv", "one.onnx", target="y", force=True)


class Lengths:
    """A model of the user that fails on nulls."""

    feature_names_in_ = ("plan",)

    def __init__(self) -> None:
        self.classes_ = ["no", "yes"]

    def predict(self, table: Any) -> Any:
        return np.array(["yes" if len(plan) > 3 else "no" for plan in table["plan"]])


def test_a_model_that_fails_on_null_words_names_the_option(folder: Path) -> None:
    plans = ["basic", *np.where(np.arange(ROWS - 1) % 5 == 0, "None", FRAME["plan"][1:])]
    FRAME[["churned"]].assign(plan=plans).to_csv("plans.csv", index=False)
    joblib.dump(Lengths(), "lengths.joblib")
    with pytest.raises(ConfigError, match=r"'None' of 'plan' are read as null.* --keep-null-words 'plan'"):
        run("plans.csv", "lengths.joblib")
    kept = ColumnOptions(keep_null_words=("plan",))
    assert run("plans.csv", "lengths.joblib", columns=kept, force=True).golden_rows > 0


class Ages:
    """A model of the user without the names of its features."""

    def __init__(self) -> None:
        self.classes_ = ["no", "yes"]

    def predict(self, table: Any) -> Any:
        return np.where(table["tenure"] > 30, "yes", "no")


def test_a_class_without_names_of_features_is_said_to_get_an_array(folder: Path) -> None:
    FRAME[["tenure", "churned"]].to_csv("tenure.csv", index=False)
    joblib.dump(Ages(), "ages.joblib")
    with pytest.raises(ConfigError, match="has no feature_names_in_, so it is given an array"):
        run("tenure.csv", "ages.joblib")


def test_the_golden_answers_of_an_onnx_file_are_those_of_its_runtime(folder: Path) -> None:
    skl2onnx = pytest.importorskip("skl2onnx")
    numbers = RNG.normal(size=(ROWS, 2)).astype(np.float32)
    label = np.where(numbers[:, 0] > 0, "yes", "no")
    graph = skl2onnx.to_onnx(LogisticRegression().fit(numbers, label), numbers[:1], options={"zipmap": False})
    (folder / "m.onnx").write_bytes(graph.SerializeToString())
    pd.DataFrame(numbers, columns=["a", "b"]).assign(label=label).to_csv(folder / "x.csv", index=False)
    result = run("x.csv", "m.onnx")
    assert (result.target, result.classes, result.sha256) == ("label", ("no", "yes"), None)
    assert (result.golden, result.golden_rows, result.no_golden) == (Path("golden.json"), 200, "")
    assert len(served(result, [{"a": 1.0, "b": 0.0}])) == 1
    text = (folder / "x.csv").read_text().replace("a,b,label", "b,a,label", 1)
    (folder / "x.csv").write_text(text)  # the table is then fed in another order of its names
    with pytest.raises(ConfigError, match="of 200 rows of the reference are answered otherwise"):
        served(result, [{"a": 1.0, "b": 0.0}])


@pytest.mark.parametrize(
    ("options", "encoding"),
    [({"sep": ";", "decimal": ","}, "cp1252"), ({"sep": "\t"}, "utf-16"), ({"sep": "|"}, "utf-8")],
)
def test_golden_answers_rest_on_pandas_reading_with_the_detected_layout(
    folder: Path, options: dict[str, str], encoding: str
) -> None:
    plan = np.where(CODES_OF_PLANS, "größer", "klein")
    table = pd.DataFrame({"plan": plan, "amount": RNG.normal(size=ROWS)})
    encode = ColumnTransformer([("plan", OneHotEncoder(), ["plan"])], remainder="passthrough")
    label = np.where((table["plan"] == "klein") & (table["amount"] > 0), "yes", "no")
    joblib.dump(make_pipeline(encode, LogisticRegression()).fit(table, label), folder / "odd.joblib")
    table.assign(label=label).to_csv(folder / "odd.csv", index=False, encoding=encoding, **options)
    result = run("odd.csv", "odd.joblib", force=True)
    assert (result.golden_rows, result.no_golden) == (200, "")
    note = next(w for w in result.warnings if w.startswith("golden answers rest on odd.csv as pandas reads"))
    assert all(f"{name}={value!r}" in note for name, value in options.items())


def test_a_function_of_the_user_is_a_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(folder)
    (folder / "own_rule_of_init.py").write_text(
        "def predict(table):\n    return ['yes' if v > 35 else 'no' for v in table['tenure']]\n"
    )
    FRAME[["customer", "tenure", "churned"]].to_csv(folder / "rule.csv", index=False)
    result = run("rule.csv", "own_rule_of_init:predict", target="churned", classes=("no", "yes"))
    assert (result.name, result.sha256) == ("own_rule_of_init", None)
    assert [f.name for f in result.features] == ["tenure"]
    assert served(result, [{"tenure": 60}, {"tenure": 3}]) == ["yes", "no"]
