"""The kinds by which a model's columns are compared: categories that are numbers, and kinds that are set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from lightgbm import LGBMClassifier
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from structlog.testing import capture_logs

from driftbell.config.settings import Settings, load
from driftbell.drift.compare import compare
from driftbell.drift.logged_columns import prepare_reference, typed_columns
from driftbell.models.conversion_cache import file_sha256
from driftbell.models.reference import reference_outputs
from driftbell.publish.evidently import _report_column
from driftbell.records import ColumnComparison, Kind
from driftbell.simulation.rehearsal import Rehearsal
from driftbell.tabular.column_options import ColumnOptions
from driftbell.tabular.files import read_file
from driftbell.tabular.typed_column import read_columns
from driftbell.wiring.examined_model import InitOptions
from driftbell.wiring.init_model import init_model
from driftbell.wiring.model import OpenedModel, open_model
from driftbell.wiring.monitor import build_detector

pytestmark = pytest.mark.usefixtures("tried_here")

ROWS = 400
RNG = np.random.default_rng(0)
STORES = RNG.choice([1, 2, 5, 9], ROWS)
AMOUNT = RNG.normal(size=ROWS)
LABELS = np.where((STORES % 2 == 0) ^ (RNG.random(ROWS) < 0.1), "yes", "no")
FRAME = pd.DataFrame({"store": pd.Categorical(STORES), "amount": AMOUNT})


def settings(folder: Path, estimator: Any, reference: Path, **more: Any) -> Settings:
    joblib.dump(estimator, folder / "m.joblib")
    overrides = {
        "data_dir": folder / "data",
        "model.path": folder / "m.joblib",
        "model.sha256": file_sha256(folder / "m.joblib"),
        "model.reference": reference,
        "model.engine": "native",
        **{name.replace("__", "."): value for name, value in more.items()},
    }
    return load(environment={}, overrides=overrides).settings


def written(frame: Any, path: Path) -> Path:
    write = {".csv": frame.to_csv, ".parquet": frame.to_parquet, ".feather": frame.to_feather}[path.suffix]
    write(path, **({"index": False} if path.suffix == ".csv" else {}))
    return path


def compared(opened: OpenedModel, name: str, cells: Any) -> ColumnComparison:
    """Compare one column of new rows with the reference, as a check does."""
    reference = opened.reference
    prepared = prepare_reference(reference)
    window = {n: c[: len(cells)] for n, c in reference.columns.items()} | {name: cells}
    return next(c for c in compare(prepared, typed_columns(window, prepared.decided)) if c.column == name)


def booster() -> Any:
    return LGBMClassifier(n_estimators=10, min_child_samples=5, verbose=-1).fit(FRAME, LABELS)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".feather"])
def test_a_new_code_within_the_range_of_number_categories_is_a_new_category(
    suffix: str, tmp_path: Path
) -> None:
    config = settings(tmp_path, booster(), written(FRAME, tmp_path / f"t{suffix}"))
    opened = open_model(config)
    (store, _) = opened.model.schema.features
    assert (store.kind, store.dtype, store.levels) == (Kind.NUMERIC, "category", (1, 2, 5, 9))
    assert opened.reference.kinds == {"store": Kind.CATEGORICAL}
    cells = STORES[:200].astype(np.float64)
    same = compared(opened, "store", cells)
    assert (same.kind, same.unseen_rows) == (Kind.CATEGORICAL, 0)
    cells[:60] = 3
    new = compared(opened, "store", cells)
    assert (new.kind, new.unseen_rows) == (Kind.CATEGORICAL, 60)
    assert new.note == "new 3 0.0% → 30.0%"
    detector = build_detector(config, opened.model, opened.reference)
    encoder = detector.charts.learned.encoder
    unseen = encoder.unseen({"store": cells, "amount": AMOUNT[:200]}, encoder.names.index("store"))
    assert unseen is not None
    assert int(unseen[0].sum()) == 60


def test_reports_and_rehearsals_treat_number_categories_as_categories(tmp_path: Path) -> None:
    config = settings(tmp_path, booster(), written(FRAME, tmp_path / "t.feather"))
    opened = open_model(config)
    detector = build_detector(config, opened.model, opened.reference)
    rehearsal = Rehearsal(opened.model, opened.reference, detector, 100)
    faults = [str(fault) for fault in rehearsal.default_faults()]
    assert any("store" in fault for fault in faults)
    assert not any(word in fault for fault in faults for word in ("shift:store", "scale:store", "swap"))
    assert rehearsal(rehearsal.default_faults()[0]).refused == ""
    assert set(reference_outputs(opened.reference, opened.model.classes).values) == {0, 1}
    comparison = compared(opened, "store", STORES[:200].astype(np.float64))
    from driftbell.drift.judge import judge

    column = judge([comparison], rows=200).columns[0]
    cells = opened.reference.columns["store"]
    report = _report_column(column, cells, np.append(cells[:50], 3.0))
    assert (report.test, report.numeric) == ("driftbell_categorical", False)
    assert set(report.reference) == {"1", "2", "5", "9"}
    assert "(new)" in set(report.window)


def test_the_type_category_of_a_csv_has_the_categories_of_the_reference(tmp_path: Path) -> None:
    reference = written(FRAME.assign(flag=AMOUNT > 0), tmp_path / "t.csv")
    fitted = FRAME.assign(flag=pd.Categorical(AMOUNT > 0))
    estimator = HistGradientBoostingClassifier(categorical_features="from_dtype").fit(fitted, LABELS)
    config = settings(
        tmp_path, estimator, reference, columns__dtypes={"store": "category", "flag": "category"}
    )
    opened = open_model(config)
    features = {f.name: f for f in opened.model.schema.features}
    assert features["store"].levels == (1, 2, 5, 9)
    assert features["flag"].levels == (False, True)
    assert opened.model.schema.example["store"] == STORES[0]
    values = opened.model.predict(
        {"store": STORES.astype(np.float64), "amount": AMOUNT, "flag": (AMOUNT > 0).astype(object)}
    ).values
    assert [opened.model.classes[v] for v in values] == estimator.predict(fitted).tolist()


def test_a_category_of_parquet_that_pandas_reads_as_numbers_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written(FRAME.assign(label=LABELS), tmp_path / "t.parquet")
    joblib.dump(HistGradientBoostingClassifier().fit(FRAME.astype({"store": int}), LABELS), "m.joblib")
    options = InitOptions(Path("m.joblib"), "t.parquet")
    (warning,) = [w for w in init_model(options, lambda _: True).warnings if "category" in w]
    assert warning == (
        "'store' is a category of pandas in the file, which pandas reads as int64: it is compared as a "
        "number. To compare it as categories, pass --dtype 'store=category'"
    )
    typed = InitOptions(Path("m.joblib"), "t.parquet", columns=ColumnOptions(dtypes={"store": "category"}))
    result = init_model(InitOptions(**{**vars_of(typed), "force": True}), lambda _: True)
    assert not [w for w in result.warnings if "category" in w]
    store = next(f for f in result.features if f.name == "store")
    assert (store.kind, store.type, store.values) == ("categorical", "category", "1, 2, 5 and 9")


def vars_of(options: InitOptions) -> dict[str, Any]:
    return {name: getattr(options, name) for name in InitOptions.__dataclass_fields__}


@pytest.mark.parametrize("suffix", [".parquet", ".feather"])
def test_tables_with_number_categories_are_compared_as_categories(suffix: str, tmp_path: Path) -> None:
    path = written(FRAME, tmp_path / f"t{suffix}")
    nulls = FRAME.assign(store=FRAME["store"].mask(AMOUNT > 1))
    files = {"file": read_file(path), "nulls": read_file(written(nulls, tmp_path / f"n{suffix}"))}
    arrow = pa.table({"store": pa.array(STORES).dictionary_encode(), "amount": AMOUNT})
    for name, table in {**files, "pandas": FRAME, "pandas nulls": nulls, "arrow": arrow}.items():
        column = read_columns(table)["store"]
        assert (column.kind, column.stored_as) == (Kind.CATEGORICAL, "numbers"), name
        assert {v for v in column.values.tolist() if v is not None} == {"1", "2", "5", "9"}, name
    (store, _) = compare(FRAME, {"store": np.where(AMOUNT > 0, STORES, 3), "amount": AMOUNT})
    assert store.unseen_rows == int((AMOUNT <= 0).sum())


DAYS = (
    pd.date_range("2026-01-01", periods=200, freq="D")
    .strftime("%Y-%m-%d")
    .to_numpy()[RNG.integers(0, 200, ROWS)]
)


def date_model() -> Any:
    encode = ColumnTransformer([("code", OneHotEncoder(handle_unknown="ignore"), ["signup"])])
    return make_pipeline(encode, LogisticRegression())


@pytest.mark.parametrize(
    ("columns", "kind", "unseen"),
    [
        ({}, Kind.DATETIME, 0),
        ({"columns__kinds": {"signup": "categorical"}}, Kind.CATEGORICAL, 50),
        ({"columns__kinds": {"signup": "text"}}, Kind.TEXT, 0),
        ({"columns__kinds": {"signup": "identifier"}}, Kind.IDENTIFIER, 0),
        ({"columns__dtypes": {"signup": "category"}}, Kind.CATEGORICAL, 50),
        ({"columns__dtypes": {"signup": "str"}}, Kind.DATETIME, 0),
    ],
)
def test_the_kind_of_dates_as_text_is_that_of_the_user(
    columns: dict[str, Any], kind: Kind, unseen: int, tmp_path: Path
) -> None:
    frame = pd.DataFrame({"signup": DAYS, "amount": AMOUNT})
    estimator = date_model().fit(frame, LABELS)
    opened = open_model(settings(tmp_path, estimator, written(frame, tmp_path / "t.csv"), **columns))
    cells = opened.reference.columns["signup"][:100].copy()
    cells[:50] = "2026-12-24"
    column = compared(opened, "signup", cells)
    assert (column.kind, column.unseen_rows) == (kind, unseen)
    assert opened.model.schema.features[0].kind is Kind.CATEGORICAL


def test_dates_that_the_encoder_does_not_know_are_named_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    early = DAYS < "2026-06-20"
    frame = pd.DataFrame({"signup": DAYS, "amount": AMOUNT})
    estimator = date_model().fit(frame[early], LABELS[early])
    reference = written(frame.assign(label=LABELS), tmp_path / "t.csv")
    with capture_logs() as logs:
        open_model(settings(tmp_path, estimator, reference, model__target="label"))
    assert not [e for e in logs if "does not know" in e["event"]]
    warnings = init_model(InitOptions(Path("m.joblib"), "t.csv"), lambda _: True).warnings
    (warning,) = [w for w in warnings if "knows only" in w]
    assert f"knows only {early.mean():.0%} of the values of 'signup': each date of its training" in warning
    assert "--dtype" not in warning
