"""The reference is read as the model was fitted on it, and golden answers prove it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from structlog.testing import capture_logs

from driftbell.config.settings import Settings, load
from driftbell.errors import ConfigError, ModelError
from driftbell.models.conversion_cache import file_sha256
from driftbell.models.golden import golden_problem, golden_rows, read_golden, write_golden
from driftbell.models.known_values import known_values
from driftbell.models.native import NativeModel
from driftbell.models.sklearn import loaded_estimator
from driftbell.tabular.schema import infer_schema
from driftbell.wiring.model import open_model, open_serving_model
from driftbell.wiring.native_model import check_golden, open_native, warn_of_other_answers

ROWS = 160
RNG = np.random.default_rng(0)
CODES = RNG.integers(0, 4, ROWS)
ZIPS = np.array(["10115", "20095", "80331", "50667"])[CODES]
AMOUNT = RNG.normal(size=ROWS)
LABELS = np.where((CODES % 2 == 0) == (AMOUNT > -0.5), "yes", "no")


def pipeline(*columns: Any) -> Any:
    return make_pipeline(ColumnTransformer(list(columns), remainder="passthrough"), LogisticRegression())


def settings(folder: Path, estimator: Any, frame: Any, more: dict[str, Any] | None = None) -> Settings:
    joblib.dump(estimator, folder / "m.joblib")
    path = folder / "past.csv"
    frame.to_csv(path, index=False)
    overrides = {
        "data_dir": folder / "data",
        "model.path": folder / "m.joblib",
        "model.sha256": file_sha256(folder / "m.joblib"),
        "model.reference": path,
        "model.engine": "native",
        **(more or {}),
    }
    return load(environment={}, overrides=overrides).settings


def classes_of(model: Any, rows: list[Any]) -> list[str]:
    answers = model.answer([model.schema.validate(json.loads(json.dumps(row))) for row in rows])[0]
    return [model.classes[i] for i in answers]


def test_postcodes_of_a_csv_are_texts_if_the_encoder_knows_texts(tmp_path: Path) -> None:
    frame = pd.DataFrame({"zip": ZIPS, "amount": AMOUNT})
    estimator = pipeline(("zip", OneHotEncoder(handle_unknown="ignore"), ["zip"])).fit(frame, LABELS)
    config = settings(tmp_path, estimator, frame)
    with capture_logs() as logs:
        opened = open_model(config)
    assert [e["dtypes"] for e in logs if e["event"] == "columns are read as the model knows them"] == [
        {"zip": "str"}
    ]
    assert classes_of(opened.model, frame.to_dict("records")) == estimator.predict(frame).tolist()
    assert opened.reference.columns["zip"].tolist() == ZIPS.tolist()
    assert not any("may not be served" in e["event"] for e in logs)


def test_golden_answers_take_texts_with_leading_zeros_as_the_encoder_knows_them(tmp_path: Path) -> None:
    zips = np.array(["01067", "20095", "80331", "04109"])[CODES]
    frame = pd.DataFrame({"zip": np.where(CODES == 2, None, zips), "amount": AMOUNT})
    steps = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    fitted = frame.assign(zip=frame["zip"].fillna(np.nan))
    estimator = pipeline(("zip", steps, ["zip"])).fit(fitted, LABELS)
    config = settings(tmp_path, estimator, frame)
    with capture_logs() as logs:
        opened = open_model(config)
    assert not any("may not be served" in e["event"] for e in logs)
    rows = json.loads(frame.to_json(orient="records"))
    assert classes_of(opened.model, rows) == estimator.predict(fitted).tolist()


def test_a_cached_model_reads_its_reference_in_the_same_way(tmp_path: Path) -> None:
    frame = pd.DataFrame({"zip": ZIPS})
    estimator = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()).fit(frame, LABELS)
    config = settings(tmp_path, estimator, frame, {"model.engine": "auto"})
    first, again = open_model(config), open_model(config)
    assert first.model.engine == again.model.engine == "onnxruntime"
    assert again.reference.columns["zip"].tolist() == ZIPS.tolist()
    assert first.reference.version == again.reference.version
    assert open_serving_model(config).schema == again.model.schema


def test_values_that_no_type_makes_known_are_named(tmp_path: Path) -> None:
    fitted = pd.DataFrame({"zip": np.char.add("D-", ZIPS)})
    estimator = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()).fit(
        fitted, LABELS
    )
    config = settings(tmp_path, estimator, pd.DataFrame({"zip": ZIPS}))
    with capture_logs() as logs:
        open_model(config)
    (warning,) = [e for e in logs if e["event"].startswith("model does not know the values of a column")]
    assert (warning["column"], warning["known_share"]) == ("zip", 0.0)


def test_the_encoders_and_imputers_of_a_pipeline_are_known() -> None:
    frame = pd.DataFrame(
        {"zip": ZIPS, "plan": np.where(CODES == 3, None, ZIPS), "amount": AMOUNT, "n": CODES}
    )
    texts = make_pipeline(
        SimpleImputer(missing_values=None, strategy="constant", fill_value="none"), OneHotEncoder()
    )
    estimator = pipeline(
        ("zip", OneHotEncoder(), ["zip"]),
        ("plan", texts, ["plan"]),
        ("number", make_pipeline(FunctionTransformer(spelled), OneHotEncoder()), ["n"]),
        ("scale", StandardScaler(), slice(2, 3)),
    ).fit(frame, LABELS)
    known = known_values(estimator, list(frame.columns))
    assert known["zip"].categories == set(ZIPS)
    assert (known["zip"].null, known["plan"].null) == ("", "none")
    assert known["plan"].categories == {*ZIPS[CODES != 3], "none"}
    assert "n" not in known  # its encoder is given the results of another step


def spelled(table: Any) -> Any:
    return table.astype(str)


def spelling_model() -> tuple[Any, Any]:
    """Return a table and a model that was fitted on its numbers as texts: 3 is another category than 3.0."""
    frame = pd.DataFrame({"store": CODES + 1})
    spell = FunctionTransformer(spelled)
    estimator = make_pipeline(spell, OneHotEncoder(handle_unknown="ignore"), LogisticRegression())
    return frame, estimator.fit(frame, LABELS)


def native(estimator: Any, columns: Any, dtypes: dict[str, str]) -> NativeModel:
    schema = infer_schema(columns, dtypes)
    return NativeModel(loaded_estimator(estimator), name="m", version="v", schema=schema)


def test_golden_answers_refuse_a_model_that_gets_another_table(tmp_path: Path) -> None:
    frame, estimator = spelling_model()
    path = tmp_path / "past.csv"
    frame.to_csv(path, index=False)
    columns = {"store": frame["store"].to_numpy(dtype=float)}
    right = native(estimator, columns, {"store": "int64"})
    rows = golden_rows(right, columns, path)
    assert rows is not None
    assert golden_problem(right, rows) == ""
    wrong = native(estimator, columns, {"store": "float64"})
    problem = golden_problem(wrong, rows)
    assert problem.startswith("160 of 160 rows of the reference are answered otherwise")
    assert "{'store': " in problem


def test_the_service_refuses_a_model_with_other_golden_answers(tmp_path: Path) -> None:
    frame, estimator = spelling_model()
    golden = tmp_path / "golden.json"
    config = settings(tmp_path, estimator, frame, {"model.golden": golden})
    reading = open_native(config, tmp_path / "m.joblib", tmp_path / "past.csv", "m")
    rows = golden_rows(reading.model, reading.table.columns, tmp_path / "past.csv")
    assert rows is not None
    write_golden(golden, reading.model, rows)
    assert (
        classes_of(open_model(config).model, [{"store": 2}])
        == estimator.predict(frame[:0]._append({"store": 2}, ignore_index=True).astype(int)).tolist()
    )
    open_serving_model(config)
    read_otherwise = settings(
        tmp_path, estimator, frame, {"model.golden": golden, "columns.dtypes": {"store": "float64"}}
    )
    for start in (open_model, open_serving_model):
        with pytest.raises(ConfigError, match=r"is not served as it was trained.*columns\] dtypes"):
            start(read_otherwise)


def test_without_golden_answers_another_reading_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftbell.wiring.model.try_model", lambda settings: None)  # logs in its process
    frame, estimator = spelling_model()
    config = settings(tmp_path, estimator, frame, {"columns.dtypes": {"store": "float64"}})
    with capture_logs() as logs:
        open_model(config)
    (warning,) = [e for e in logs if e["event"] == "model may not be served as it was trained"]
    assert "rows of the reference are answered otherwise" in warning["reason"]


def test_golden_answers_of_a_regression_are_numbers(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": AMOUNT, "n": CODES})
    estimator = RandomForestRegressor(5, random_state=0).fit(frame, AMOUNT + CODES)
    path = tmp_path / "past.parquet"
    frame.to_parquet(path)
    model = native(estimator, {"x": AMOUNT, "n": CODES}, {"x": "float64", "n": "int64"})
    rows = golden_rows(model, {"x": AMOUNT, "n": CODES}, path)
    assert rows is not None
    assert golden_problem(model, rows) == ""
    write_golden(tmp_path / "g.json", model, rows)
    assert read_golden(tmp_path / "g.json", "v") == rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "has no golden answers"),
        ("[]", "has no golden answers"),
        ('{"format": 1, "version": "v", "rows": []}', "has no golden answers"),
        (
            '{"format": 1, "version": "v", "rows": [{"features": {}, "value": null, "probabilities": {}}]}',
            "has no golden answers",
        ),
        ('{"format": 2}', "of another format"),
        ('{"format": 1, "version": "w", "rows": []}', "of version w, the model is v"),
        ('{"format": 1, "version": "v", "rows": [{"features": {}}]}', "has no golden answers"),
        (None, "cannot read model.golden"),
    ],
)
def test_a_file_without_golden_answers_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "g.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ModelError, match=message) as caught:
        read_golden(path, "v")
    assert str(path) in str(caught.value)


def test_nothing_is_checked_without_golden_answers(tmp_path: Path) -> None:
    frame, estimator = spelling_model()
    config = settings(tmp_path, estimator, frame)
    reading = open_native(config, tmp_path / "m.joblib", tmp_path / "past.csv", "m")
    with capture_logs() as logs:
        check_golden(config, reading.model)
        warn_of_other_answers(reading, tmp_path / "past.csv")
    assert logs == []


COUNTRIES = np.array(["DE", "NA", "FR", "US"])[CODES]


def test_na_of_a_csv_is_null_as_pandas_reads_it(tmp_path: Path) -> None:
    frame = pd.DataFrame({"country": COUNTRIES, "amount": AMOUNT})
    frame.to_csv(tmp_path / "training.csv", index=False)
    training = pd.read_csv(tmp_path / "training.csv")
    encoder = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="none"), OneHotEncoder(handle_unknown="ignore")
    )
    estimator = pipeline(("country", encoder, ["country"])).fit(training, LABELS)
    config = settings(tmp_path, estimator, frame)
    with capture_logs() as logs:
        opened = open_model(config)
    country = opened.model.schema.features[0]
    assert (country.nullable, "NA" in country.categories) == (True, False)
    assert opened.reference.columns["country"].tolist() == [None if c == "NA" else c for c in COUNTRIES]
    rows = [
        {"country": None if c == "NA" else c, "amount": float(a)}
        for c, a in zip(COUNTRIES, AMOUNT, strict=True)
    ]
    assert classes_of(opened.model, rows) == estimator.predict(training).tolist()
    assert not any("may not be served" in e["event"] for e in logs)


@pytest.mark.parametrize("engine", ["native", "auto"])
def test_na_that_the_model_knows_stays_a_category(tmp_path: Path, engine: str) -> None:
    frame = pd.DataFrame(
        {"country": COUNTRIES, "amount": AMOUNT, "label": np.where(LABELS == "no", "None", "NA")}
    )
    estimator = pipeline(("country", OneHotEncoder(), ["country"]))
    estimator.fit(frame[["country", "amount"]], frame["label"])
    config = settings(tmp_path, estimator, frame, {"model.target": "label", "model.engine": engine})
    for _ in range(2):  # the second time from the cache of the conversion
        with capture_logs() as logs:
            opened = open_model(config)
        assert opened.reference.columns["country"].tolist() == COUNTRIES.tolist()
        assert set(opened.reference.labels.tolist()) == {"None", "NA"}
        assert classes_of(opened.model, frame[["country", "amount"]].to_dict("records")) == (
            estimator.predict(frame[["country", "amount"]]).tolist()
        )
        assert not any("may not be served" in e["event"] for e in logs)


def test_a_label_that_the_reference_does_not_have_is_named(tmp_path: Path) -> None:
    frame = pd.DataFrame({"amount": AMOUNT, "label": LABELS})
    estimator = LogisticRegression().fit(frame[["amount"]], frame["label"])
    config = settings(tmp_path, estimator, frame, {"model.target": "labels"})
    with pytest.raises(ConfigError, match=r"past\.csv has no column 'labels': did you mean 'label'\?"):
        open_model(config)
