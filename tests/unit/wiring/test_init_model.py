"""`init_model` writes a configuration with which the service answers as the model's own library does."""

from __future__ import annotations

import functools
import json
import sqlite3
import tomllib
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder
from tests.init_tables import FEATURES, FRAME, RNG, ROWS, churn, run, served

from driftbell.cli.init import score_text
from driftbell.config.settings import load
from driftbell.errors import ConfigError
from driftbell.tabular.column_options import ColumnOptions


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    joblib.dump(churn(), tmp_path / "churn.joblib")
    FRAME.to_csv(tmp_path / "past.csv", index=False)
    FRAME.to_parquet(tmp_path / "past.parquet", index=False)
    return tmp_path


@pytest.mark.parametrize("reference", ["past.csv", "past.parquet"])
def test_a_pipeline_is_served_as_it_was_trained(folder: Path, reference: str) -> None:
    result = run(reference)
    assert (result.task, result.classes, result.rows) == ("classification", ("no", "yes"), ROWS)
    assert (result.target, result.why_target) == (
        "churned",
        "the only further column with the classes of the model",
    )
    assert result.left_out == {"customer": "identifier: texts that are all different"}
    assert (result.golden, result.golden_rows, result.no_golden) == (Path("golden.json"), 200, "")
    assert [f.name for f in result.features] == FEATURES
    facts = {f.name: f for f in result.features}
    assert (facts["tenure"].kind, facts["tenure"].type, facts["tenure"].nullable) == (
        "numeric",
        "int64",
        False,
    )
    assert facts["tenure"].values == "0 to 71"
    assert facts["city"].nullable
    assert set(facts["plan"].values.replace(" and ", ", ").split(", ")) == {"basic", "family", "pro"}
    assert result.other_types == ({"zip": "str"} if reference == "past.csv" else {})
    rows = FRAME[FEATURES].to_dict("records")
    assert served(result, rows) == churn().predict(FRAME[FEATURES]).tolist()


def test_the_configuration_has_what_was_decided(folder: Path) -> None:
    result = run("past.csv", name="customers", columns=ColumnOptions({"plan": "categorical"}))
    text = result.output.read_text()
    values = tomllib.loads(text)
    assert values["model"] == {
        "name": "customers",
        "path": "churn.joblib",
        "sha256": result.sha256,
        "reference": "past.csv",
        "target": "churned",
        "golden": "golden.json",
    }
    assert values["columns"] == {
        "exclude": ["customer"],
        "kinds": {"plan": "categorical"},
        "dtypes": {"zip": "str"},
    }
    assert "# [check]" in text
    # each commented default is valid
    defaults = "\n".join(line.removeprefix("# ") for line in text[text.index("# [server]") :].splitlines())
    (folder / "defaults.toml").write_text(defaults)
    result.output.unlink()
    assert load(folder / "defaults.toml", environment={}).settings == load(None, environment={}).settings


def test_the_score_has_the_baseline_of_a_constant_answer(folder: Path) -> None:
    score = run("past.csv").score
    assert score is not None
    accuracy, balanced = score.metrics
    predicted = churn().predict(FRAME[FEATURES])
    assert accuracy.value == pytest.approx((predicted == FRAME.churned).mean())
    counts = FRAME.churned.value_counts()
    assert accuracy.baseline == pytest.approx(counts.max() / ROWS)
    assert (score.rows, score.constant, balanced.baseline) == (ROWS, counts.idxmax(), 0.5)


@pytest.mark.parametrize("threshold", [0.8, 0.2])
def test_a_threshold_decides_the_score_and_is_written(folder: Path, threshold: float) -> None:
    plain = run("past.csv", output=Path("plain.toml"))
    result = run("past.csv", threshold=f"yes={threshold}")
    shares = churn().predict_proba(FRAME[FEATURES])[:, 1]
    expected = np.where(shares >= threshold, "yes", "no")
    assert result.score is not None
    assert result.score.metrics[0].value == pytest.approx((expected == FRAME.churned).mean())
    assert result.score != plain.score
    assert (result.threshold, result.version) == ({"yes": threshold}, f"{plain.version}-yes-{threshold}")
    assert tomllib.loads(result.output.read_text())["model"]["threshold"] == {"yes": threshold}
    assert result.golden is not None
    assert plain.golden is not None
    assert result.golden.read_text() == plain.golden.read_text()  # of the library, whatever the threshold
    assert served(result, FRAME[FEATURES].to_dict("records")) == expected.tolist()


def test_a_model_without_names_of_features_leaves_identifiers_out(folder: Path) -> None:
    digits = RNG.integers(0, 10, ROWS)
    numbers = digits[:, None] + RNG.normal(0, 0.2, (ROWS, 3))
    estimator = RandomForestClassifier(10, random_state=0).fit(numbers[:150], digits[:150])
    joblib.dump(estimator, folder / "ten.joblib")
    table = pd.DataFrame(numbers, columns=["a", "b", "c"])
    table.insert(0, "row_id", np.arange(ROWS) + 5)
    table.insert(0, "digit", digits)
    table["digit"] = table.pop("digit")
    table.to_csv(folder / "ten.csv", index=False)
    result = run("ten.csv", "ten.joblib", output=Path("ten.toml"))
    assert (result.target, list(result.left_out)) == ("digit", ["row_id"])
    assert len(result.classes) == 10
    assert result.golden == Path("ten.golden.json")
    rows = table[["a", "b", "c"]].to_dict("records")
    assert served(result, rows) == list(map(str, estimator.predict(numbers)))


def test_a_regression_has_an_error_and_r2(folder: Path) -> None:
    table = pd.DataFrame({"size": RNG.normal(60, 20, ROWS).round(1), "rooms": RNG.integers(1, 6, ROWS)})
    price = 3 * table["size"] + 10 * table.rooms + RNG.normal(0, 5, ROWS)
    estimator = RandomForestRegressor(10, random_state=0).fit(table[:150], price[:150])
    joblib.dump(estimator, folder / "price.joblib")
    table.assign(price=price).to_parquet(folder / "sales.parquet")
    result = run("sales.parquet", "price.joblib")
    assert (result.task, result.classes, result.target) == ("regression", (), "price")
    assert result.why_target == "the only further column with numbers"
    score = result.score
    assert score is not None
    mae, r2 = score.metrics
    predicted, median = estimator.predict(table), np.median(price)
    assert mae.value == pytest.approx(np.abs(predicted - price).mean())
    assert mae.baseline == pytest.approx(np.abs(median - price).mean())
    assert r2.value == pytest.approx(r2_score(price, predicted))
    assert r2.baseline == pytest.approx(r2_score(price, np.full(ROWS, median)))
    assert result.golden_rows == 200
    assert served(result, table.to_dict("records")) == pytest.approx(predicted.tolist())


def test_rows_of_a_query_become_a_parquet_file(folder: Path) -> None:
    connection = sqlite3.connect(folder / "shop.db")
    FRAME.to_sql("people", connection, index=False)
    connection.close()
    result = run("sqlite:///shop.db", query="SELECT * FROM people")
    assert result.reference == Path("reference.parquet")
    assert result.golden_rows == 200
    assert served(result, FRAME[FEATURES].to_dict("records")) == churn().predict(FRAME[FEATURES]).tolist()
    read = pd.read_parquet(folder / "reference.parquet")
    assert read["city"].isna().sum() == FRAME.city.isna().sum()
    assert any(v is None for v in read["city"].tolist())


def test_a_failure_leaves_no_file_behind(folder: Path) -> None:
    connection = sqlite3.connect(folder / "shop.db")
    FRAME.drop(columns="plan").to_sql("people", connection, index=False)
    connection.close()
    before = sorted(folder.iterdir())
    with pytest.raises(ConfigError, match="missing plan"):
        run("sqlite:///shop.db", query="SELECT * FROM people")
    assert sorted(folder.iterdir()) == before


def spelled(table: Any) -> Any:
    return table.astype(str)


def test_a_model_that_would_be_fed_otherwise_is_refused(folder: Path) -> None:
    table = pd.DataFrame({"store": RNG.integers(1, 5, ROWS)})
    label = np.where(table.store % 2 == 0, "even", "odd")
    estimator = make_pipeline(
        FunctionTransformer(spelled), OneHotEncoder(handle_unknown="ignore"), LogisticRegression()
    ).fit(table, label)
    joblib.dump(estimator, folder / "stores.joblib")
    table.assign(label=label).to_csv(folder / "stores.csv", index=False)
    before = sorted(folder.iterdir())
    with pytest.raises(ConfigError, match=r"not be served as it was trained, so nothing is written.*--dtype"):
        run("stores.csv", "stores.joblib", columns=ColumnOptions(dtypes={"store": "float64"}))
    assert sorted(folder.iterdir()) == before
    assert run("stores.csv", "stores.joblib").golden_rows == 200


def test_a_model_that_knows_its_rows_too_well_gets_a_warning(folder: Path) -> None:
    table = pd.DataFrame(RNG.normal(size=(ROWS, 2)), columns=["a", "b"])
    label = RNG.integers(0, 2, ROWS)
    joblib.dump(RandomForestClassifier(100, random_state=0).fit(table, label), folder / "f.joblib")
    table.assign(label=label).to_csv(folder / "f.csv", index=False)
    (warning,) = run("f.csv", "f.joblib").warnings
    assert "probably fitted on these rows" in warning


def test_an_identifier_that_the_model_needs_is_kept_with_a_warning(folder: Path) -> None:
    table = pd.DataFrame({"key": np.arange(ROWS), "a": RNG.normal(size=ROWS)})
    label = np.where(table.a + RNG.normal(size=ROWS) > 0, "yes", "no")
    joblib.dump(LogisticRegression().fit(table, label), folder / "k.joblib")
    table.assign(label=label).to_csv(folder / "k.csv", index=False)
    result = run("k.csv", "k.joblib")
    assert [f.name for f in result.features] == ["key", "a"]
    assert "'key' looks like an identifier (running numbers: all different, in order)" in result.warnings[0]
    assert result.warnings[0].endswith("unlike those of the reference, so they are not compared")


def test_other_columns_are_left_out_and_the_label_may_be_missing(folder: Path) -> None:
    FRAME.drop(columns="churned").assign(note=RNG.normal(size=ROWS)).to_csv(folder / "bare.csv", index=False)
    result = run("bare.csv")
    assert (result.target, result.score) == (None, None)
    assert result.left_out["note"] == "not a feature of the model"


def test_a_label_in_other_words_is_named(folder: Path) -> None:
    FRAME.assign(churned=np.where(FRAME.churned == "yes", "left", "stayed")).to_csv(
        folder / "words.csv", index=False
    )
    (warning,) = run("words.csv").warnings
    assert "'churned' is left out: its values left and stayed are not the classes of the model" in warning
    with pytest.raises(ConfigError, match=r"no label of words\.csv is a class of the model"):
        run("words.csv", target="churned", force=True)


def test_of_several_labels_none_is_taken(folder: Path) -> None:
    FRAME.assign(again=FRAME.churned).to_csv(folder / "two.csv", index=False)
    result = run("two.csv")
    assert result.target is None
    assert "several columns could be the label: churned and again" in result.warnings[0]
    assert result.label_candidates == ("churned", "again")
    text = score_text(result.score, result.label_candidates)
    assert text == "unknown: churned and again could be the label; name it with --target"
    assert run("two.csv", target="again", force=True).label_candidates == ()
    assert run("two.csv", target="again", force=True).left_out["churned"] == "not a feature of the model"


def test_files_are_replaced_only_with_force(folder: Path) -> None:
    run("past.csv")
    with pytest.raises(ConfigError, match=r"driftbell\.toml and golden\.json exist: pass --force"):
        run("past.csv")
    (folder / "golden.json").write_text("{}")
    run("past.csv", force=True)
    assert json.loads((folder / "golden.json").read_text())["rows"]


class Broken(BaseEstimator):
    """A classifier that fails on rows with a negative number."""

    def fit(self, table: Any, labels: Any) -> Broken:
        self.classes_ = np.unique(labels)
        self.n_features_in_ = table.shape[1]
        return self

    def predict(self, table: Any) -> Any:
        if (np.asarray(table) < 0).any():
            raise ValueError("a negative number")
        return np.full(len(table), self.classes_[0])


def test_a_model_that_fails_on_the_reference_is_refused(folder: Path) -> None:
    numbers = np.abs(RNG.normal(size=(ROWS, 2)))
    estimator = Broken().fit(numbers, ["a", "b"] * (ROWS // 2))
    joblib.dump(estimator, folder / "broken.joblib")
    numbers[7, 0] = -1
    pd.DataFrame(numbers, columns=["x", "y"]).to_csv(folder / "broken.csv", index=False)
    with pytest.raises(ConfigError, match=r"cannot predict every row of .*: ValueError: a negative"):
        run("broken.csv", "broken.joblib")
    numbers[0, 0] = -1
    pd.DataFrame(numbers, columns=["x", "y"]).to_csv(folder / "broken.csv", index=False)
    with pytest.raises(ConfigError, match=r"a negative number. Its columns are read from .*--dtype"):
        run("broken.csv", "broken.joblib")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reference": "none.csv"}, "cannot read none.csv: No such file"),
        ({"model": "none.joblib"}, "cannot read the model none.joblib: there is no such file"),
        ({"model": "past.csv"}, "cannot load past.csv: "),
        ({"target": "churnd"}, "--target: past.csv has no column 'churnd': did you mean 'churned'"),
        ({"target": "plan"}, "'plan' is a feature that churn.joblib was fitted on"),
        ({"columns": ColumnOptions(exclude=("plan",))}, "churn.joblib needs plan: remove --exclude"),
        (
            {"target": "churned", "columns": ColumnOptions(exclude=("chur*",))},
            "--exclude leaves out column 'churned'",
        ),
        ({"name": "a/b"}, "--name: 'a/b' is no valid name of a model"),
        (
            {"threshold": "yes"},
            "--threshold: 'yes' must be one class and its probability, such as 'churn=0.8'",
        ),
        ({"threshold": "yes=1"}, "--threshold: 'yes=1' must be a probability above 0 and below 1"),
        ({"threshold": "yes=0.8,no=0.3"}, "--threshold: .* must be one class and its probability"),
        ({"threshold": "yess=0.8"}, r"has no class 'yess', did you mean 'yes'\? \(classes: no and yes\)"),
        ({"trust": False}, r"is a pickle.*its SHA-256 is [0-9a-f]{64}.*pass --trust"),
        ({"output": Path("none/x.toml")}, "--output: there is no folder none"),
        ({"output": Path()}, "--output: . is a folder"),
        ({"output": Path("past.csv"), "force": True}, "would replace the file that is read"),
        ({"query": "SELECT 1"}, "--query needs a database"),
        ({"reference": "sqlite:///none.db", "query": "SELECT 1"}, "none.db is not a file"),
    ],
)
def test_wrong_options_are_named(folder: Path, options: dict[str, Any], message: str) -> None:
    before = sorted(folder.iterdir())
    with pytest.raises(ConfigError, match=message):
        run(**{"reference": "past.csv", **options})
    assert sorted(folder.iterdir()) == before


def test_another_table_is_refused_with_both_lists_and_the_likely_label(folder: Path) -> None:
    FRAME.rename(columns={"plan": "PLAN", "zip": "zipp"}).to_csv(folder / "other.csv", index=False)
    with pytest.raises(ConfigError) as error:
        run("other.csv")
    text = str(error.value)
    assert "missing plan and zip" in text
    assert "fitted on tenure, plan, zip and city" in text
    assert "the file has customer, tenure, PLAN, zipp, city and churned" in text
    assert "for 'plan', did you mean 'PLAN'?" in text
    assert "for 'zip', did you mean 'zipp'?" in text
    assert "?." not in text
    assert "the label is probably 'churned'" in text
    with pytest.raises(ConfigError) as error:
        run("other.csv", target="churned")
    assert "the label is probably" not in str(error.value)


def test_a_renamed_feature_is_not_taken_for_the_label(folder: Path) -> None:
    FRAME.rename(columns={"city": "cities"}).assign(cities=FRAME["churned"]).to_csv("other.csv", index=False)
    with pytest.raises(ConfigError) as error:
        run("other.csv")
    assert "for 'city', did you mean 'cities'?; the label is probably 'churned'" in str(error.value)
    FRAME.rename(columns={"city": "town"}).assign(town=FRAME["churned"]).drop(
        columns=["churned", "customer"]
    ).to_csv("other.csv", index=False)
    with pytest.raises(ConfigError) as error:
        run("other.csv")
    assert "missing city" in str(error.value)
    assert "the label" not in str(error.value)


def test_names_with_spaces_at_their_ends_are_those_of_the_model(folder: Path) -> None:
    table = FRAME[["tenure", "plan", "churned"]].rename(columns={"tenure": " tenure", "plan": "plan "})
    table.to_csv("spaces.csv", index=False)
    steps = [("tenure", "passthrough", [" tenure"]), ("plan", OneHotEncoder(), ["plan "])]
    model = make_pipeline(ColumnTransformer(steps), LogisticRegression())
    joblib.dump(model.fit(table[[" tenure", "plan "]], table["churned"]), "spaces.joblib")
    result = run("spaces.csv", model="spaces.joblib")
    assert [feature.name for feature in result.features] == ["tenure", "plan"]
    assert result.golden_rows > 0
    both = table.assign(tenure=table[" tenure"])
    both.to_parquet("both.parquet")
    joblib.dump(LogisticRegression().fit(both[[" tenure", "tenure"]], table["churned"]), "both.joblib")
    warnings = run("both.parquet", model="both.joblib", force=True).warnings
    assert any("the features ' tenure' and 'tenure' differ only in spaces at the ends" in w for w in warnings)


def test_dates_and_null_words_in_texts_are_named(folder: Path) -> None:
    days = pd.date_range("2024-01-01", periods=ROWS, freq="17h").strftime("%d.%m.%Y")
    plan = np.where(np.arange(ROWS) % 5 == 0, "NA", FRAME["plan"])
    table = pd.DataFrame({"signup": days, "plan": plan, "churned": FRAME["churned"]})
    table.to_csv("dates.csv", index=False)
    training = pd.read_csv("dates.csv")
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression())
    joblib.dump(model.fit(training[["signup", "plan"]], training["churned"]), "dates.joblib")
    result = run("dates.csv", model="dates.joblib")
    dates, nulls = result.warnings[:2] if "dates as text" in result.warnings[0] else result.warnings[1::-1]
    assert dates == (
        "'signup' has dates as text: the model is given the text, and checks compare the dates. If the "
        "model was trained on timestamps, pass --column 'signup=datetime'; to compare the texts as "
        "categories, --column 'signup=categorical'"
    )
    assert nulls.startswith(f"'plan': {ROWS // 5} cells 'NA' are null, as pandas reads them by default.")
    assert not any("identifier" in warning for warning in result.warnings)
    assert "--keep-null-words 'plan'" in nulls

    read = functools.partial(pd.read_csv, "dates.csv", keep_default_na=False)
    joblib.dump(model.fit(read()[["signup", "plan"]], read()["churned"]), "dates.joblib")
    (Path("driftbell.toml")).unlink(missing_ok=True)
    kept = ColumnOptions(keep_null_words=("plan",))
    result = run("dates.csv", model="dates.joblib", columns=kept, force=True)
    assert not any("null" in warning for warning in result.warnings)
    assert 'keep_null_words = ["plan"]' in Path("driftbell.toml").read_text()
    assert not next(f for f in result.features if f.name == "plan").nullable
