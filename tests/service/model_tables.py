"""Models of every format on one mixed table, with the answers of their own libraries."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import json
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from driftbell.models.mlflow_folder import folder_sha256

ROWS = 1000
SINGLE_ROWS = 100
OWN = "own_table_code"
TEXTS = np.array(["basic", "pro", "größer, mehr", 'a "b"'])


def table(seed: int) -> pd.DataFrame:
    """Return 1,000 rows of all types."""
    rng = np.random.default_rng(seed)
    plan = rng.choice(TEXTS, ROWS).astype(object)
    plan[rng.random(ROWS) < 0.1] = None
    return pd.DataFrame(
        {
            "count": rng.integers(-5, 50, ROWS),
            "big": 2**53 + 2 * rng.integers(0, 9, ROWS) + 1,
            "late": rng.random(ROWS) < 0.3,
            "plan": plan,
            "store": pd.Categorical(rng.choice(["a", "b", "c"], ROWS), categories=["c", "x", "a", "b"]),
            "rate": rng.normal(size=ROWS).astype(np.float32),
            "amount": np.where(rng.random(ROWS) < 0.1, np.nan, rng.lognormal(3, 1, ROWS)),
            "since": pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 10**7, ROWS), unit="s"),
        }
    )


def number_categories(seed: int) -> pd.DataFrame:
    """Return 1,000 rows of categories that are integers with nulls, floats and booleans."""
    rng = np.random.default_rng(seed)
    shop: list[Any] = [None if rng.random() < 0.1 else int(v) for v in rng.choice([1, 2, 5, 9], ROWS)]
    return pd.DataFrame(
        {
            "shop": pd.Categorical(shop, categories=[9, 1, 2, 5]),
            "size": pd.Categorical(rng.choice([0.5, 1.0, 2.25], ROWS)),
            "gift": pd.Categorical(rng.random(ROWS) < 0.4),
        }
    )


REFERENCE, NEW = table(0), table(1)
COLUMNS = list(REFERENCE.columns)
REFERENCE, NEW = REFERENCE.join(number_categories(2)), NEW.join(number_categories(3))
NUMBERS = ["count", "rate", "amount"]
TREES = ["count", "late", "store", "rate", "amount"]
SCORE = (
    REFERENCE["count"] / 20
    + REFERENCE["rate"]
    + REFERENCE["late"]
    + (REFERENCE["store"] == "a")
    + (REFERENCE["plan"] == "pro")
    + (REFERENCE["big"] - 2**53) / 9
    + (REFERENCE["shop"] == 5)
    + REFERENCE["size"].astype(float) / 2
    + REFERENCE["gift"].astype(int)
    + np.random.default_rng(2).normal(0, 0.3, ROWS)
)
LABEL = pd.cut(SCORE, 3, labels=["high", "low", "middle"]).astype(str)
CLASSES = np.unique(LABEL)
CODES = np.searchsorted(CLASSES, LABEL)


@dataclass(frozen=True)
class Served:
    """A model that is ready to be served.

    Attributes:
        path: `model.path`.
        columns: its features.
        answers: answers of its own library on the frame: probabilities by class, or numbers.
        classes: names of the classes in the order of the probabilities; none for a regression.
        settings: further settings.
        single: answers of its own library to single rows, if rounding depends on their number.
    """

    path: str
    columns: list[str]
    answers: np.ndarray
    classes: list[str] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    single: np.ndarray | None = None


def split_times(frame: pd.DataFrame) -> pd.DataFrame:
    """Return numbers that depend on every digit of integers and times."""
    return pd.DataFrame({"digit": frame["big"] % 1000 // 2, "hour": frame["since"].dt.hour})


def own_module(folder: Path) -> Any:
    """Return a module of the user's own, which the service imports from its folder too."""
    path = folder / f"{OWN}.py"
    functions = "\n\n".join(map(inspect.getsource, (split_times, own_score)))
    path.write_text(f"from typing import Any\n\nimport pandas as pd\n\n\n{functions}", "utf-8")
    spec = importlib.util.spec_from_file_location(OWN, path)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[OWN] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pipeline(last: Any, of_times: Callable[[Any], Any] | None) -> Any:
    steps: list[Any] = [
        ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS),
        ("store", OneHotEncoder(), ["late", "store"]),
        (
            "plan",
            make_pipeline(
                SimpleImputer(missing_values=None, strategy="constant", fill_value="none"), OneHotEncoder()
            ),
            ["plan"],
        ),
    ]
    if of_times is not None:
        steps.append(("times", FunctionTransformer(of_times), ["big", "since"]))
    else:
        steps.append(("big", OneHotEncoder(handle_unknown="ignore"), ["big"]))
    return make_pipeline(ColumnTransformer(steps, sparse_threshold=0), last)


def sklearn_file(folder: Path, kind: str, *, regression: bool = False) -> Served:
    own_code = kind != "skops"
    last = (
        HistGradientBoostingRegressor(max_iter=15)
        if regression
        else HistGradientBoostingClassifier(max_iter=10)
    )
    model = pipeline(last, own_module(folder).split_times if own_code else None)
    columns = COLUMNS if own_code else [c for c in COLUMNS if c != "since"]
    model.fit(REFERENCE[columns], SCORE if regression else LABEL)
    path = folder / f"model.{'pkl' if kind in ('pickle', 'cloudpickle') else kind}"
    if kind == "joblib":
        joblib.dump(model, path)
    elif kind == "skops":
        pytest.importorskip("skops.io").dump(model, path)
    else:
        path.write_bytes(pytest.importorskip(kind).dumps(model))
    return of_estimator(model, str(path), columns, regression=regression, settings=pinned(path))


def of_estimator(model: Any, path: str, columns: list[str], *, regression: bool, settings: Any) -> Served:
    frame = NEW[columns]
    if regression:
        return Served(path, columns, model.predict(frame), [], settings)
    return Served(path, columns, model.predict_proba(frame), list(map(str, model.classes_)), settings)


def pinned(path: Path) -> dict[str, str]:
    digest = folder_sha256(path) if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()
    return {"MODEL__SHA256": digest}


def text_series(folder: Path) -> Served:
    text = REFERENCE["plan"].fillna("none")
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(text, LABEL)
    path = folder / "model.joblib"
    joblib.dump(model, path)
    kept = NEW["plan"].notna().to_numpy()
    answers = model.predict_proba(NEW["plan"].fillna("none"))
    return Served(str(path), ["plan"], answers[kept], list(model.classes_), pinned(path))


def category_encoders(folder: Path) -> Served:
    columns = ["shop", "size", "gift"]
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression())
    model.fit(REFERENCE[columns], LABEL)
    path = folder / "model.joblib"
    joblib.dump(model, path)
    return of_estimator(model, str(path), columns, regression=False, settings=pinned(path))


def categories_by_type(folder: Path) -> Served:
    columns = ["shop", "size", "gift", "rate"]
    model = HistGradientBoostingClassifier(max_iter=10, categorical_features="from_dtype")
    model.fit(REFERENCE[columns], LABEL)
    path = folder / "model.joblib"
    joblib.dump(model, path)
    return of_estimator(model, str(path), columns, regression=False, settings=pinned(path))


def lightgbm_file(folder: Path, *, regression: bool = False, more: tuple[str, ...] = ("big",)) -> Served:
    lightgbm = pytest.importorskip("lightgbm")
    columns = [*TREES, *more]
    kind = lightgbm.LGBMRegressor if regression else lightgbm.LGBMClassifier
    model = kind(n_estimators=10, verbose=-1).fit(REFERENCE[columns], SCORE if regression else CODES)
    path = folder / "model.txt"
    model.booster_.save_model(path)
    return of_estimator(model, str(path), columns, regression=regression, settings={})


def xgboost_file(
    folder: Path, suffix: str, *, regression: bool = False, more: tuple[str, ...] = ()
) -> Served:
    xgboost = pytest.importorskip("xgboost")
    kind = xgboost.XGBRegressor if regression else xgboost.XGBClassifier
    model = kind(n_estimators=10, enable_categorical=True, n_jobs=1)
    columns = [*TREES, *more]
    model.fit(REFERENCE[columns], SCORE if regression else CODES)
    path = folder / f"model.{suffix}"
    model.save_model(path)
    return of_estimator(model, str(path), columns, regression=regression, settings={})


def catboost_file(folder: Path, *, regression: bool = False) -> Served:
    catboost = pytest.importorskip("catboost")
    columns = ["count", "big", "late", "rate", "amount", "store"]
    kind = catboost.CatBoostRegressor if regression else catboost.CatBoostClassifier
    model = kind(iterations=10, verbose=False, thread_count=1, allow_writing_files=False)
    model.fit(REFERENCE[columns], SCORE if regression else LABEL, cat_features=["store", "late"])
    path = folder / "model.cbm"
    model.save_model(str(path))
    return of_estimator(model, str(path), columns, regression=regression, settings={})


def onnx_file(folder: Path, *, regression: bool = False) -> Served:
    convert = pytest.importorskip("skl2onnx")
    runtime = pytest.importorskip("onnxruntime")
    types = pytest.importorskip("skl2onnx.common.data_types")
    columns = ["count", "big", "rate", "amount", "store"]
    steps = [
        ("n", make_pipeline(SimpleImputer(), StandardScaler()), ["rate", "amount"]),
        ("i", StandardScaler(), ["count"]),
        ("c", OneHotEncoder(handle_unknown="ignore"), ["store"]),
        ("b", OneHotEncoder(handle_unknown="ignore"), ["big"]),
    ]
    last = LinearRegression() if regression else LogisticRegression(max_iter=500)
    model = make_pipeline(ColumnTransformer(steps, sparse_threshold=0), last)
    model.fit(REFERENCE[columns].astype({"store": object}), SCORE if regression else LABEL)
    inputs = {
        "count": types.Int64TensorType([None, 1]),
        "big": types.Int64TensorType([None, 1]),
        "rate": types.FloatTensorType([None, 1]),
        "amount": types.FloatTensorType([None, 1]),
        "store": types.StringTensorType([None, 1]),
    }
    options = {} if regression else {"zipmap": False}
    graph = convert.to_onnx(
        model, initial_types=list(inputs.items()), options={id(model): options} if options else None
    )
    path = folder / "model.onnx"
    path.write_bytes(graph.SerializeToString())
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    casts: dict[str, Any] = {"count": np.int64, "big": np.int64, "store": object}
    feed = {name: NEW[[name]].astype(casts.get(name, np.float32)).to_numpy() for name in columns}
    output = None if regression else [session.get_outputs()[1].name]

    def answers(rows: slice) -> np.ndarray:
        result = np.asarray(session.run(output, {name: cells[rows] for name, cells in feed.items()})[0])
        return result.ravel() if regression else result

    single = np.concatenate([answers(slice(i, i + 1)) for i in range(SINGLE_ROWS)])
    classes = [] if regression else list(model.classes_)
    return Served(str(path), columns, answers(slice(None)), classes, single=single)


def mlflow_folder(folder: Path, *, pyfunc: bool) -> Served:
    pytest.importorskip("mlflow")
    path = folder / "model"
    if not pyfunc:
        flavor = pytest.importorskip("mlflow.sklearn")
        columns = [c for c in COLUMNS if c != "since"]
        model = pipeline(HistGradientBoostingClassifier(max_iter=10), None)
        model.fit(REFERENCE[columns], LABEL)
        flavor.save_model(model, str(path), serialization_format="cloudpickle")
        return of_estimator(model, str(path), columns, regression=False, settings=pinned(path))
    flavor = importlib.import_module("mlflow.pyfunc")
    base: Any = flavor.PythonModel
    score = own_module(folder).own_score

    class Digits(base):
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            return score(model_input)

    from mlflow.models import infer_signature

    columns = ["count", "big", "late", "plan", "rate", "amount", "since"]
    signature = infer_signature(REFERENCE[columns].dropna(), SCORE)
    flavor.save_model(str(path), python_model=Digits(), signature=signature)
    answers = flavor.load_model(str(path)).predict(NEW[columns].dropna())
    return Served(str(path), columns, np.asarray(answers), [], pinned(path))


def own_score(frame: Any) -> Any:
    """Return a number that depends on every digit, type and null of a table."""
    value = frame["count"] + (frame["big"] % 1000) / 3 + frame["late"].astype(int)
    value = value + frame["plan"].map(lambda v: -1 if v is None or v != v else len(v)).astype(float)
    value = value + frame["rate"].astype("float64") + frame["amount"].fillna(-1) / 7
    return (value + frame["since"].astype("datetime64[s]").astype("int64") % 86_400 / 1e4).to_numpy()


def function(folder: Path) -> Served:
    own_module(folder)
    columns = [c for c in COLUMNS if c != "store"]
    return Served(f"{OWN}:own_score", columns, own_score(NEW))


class Scoring(BaseHTTPRequestHandler):
    """A server of a model that answers plain JSON."""

    def do_POST(self) -> None:
        split = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        frame = pd.DataFrame(split["data"], columns=split["columns"]).astype({"amount": "float64"})
        frame["since"] = pd.to_datetime(frame["since"], format="ISO8601").dt.tz_localize(None)
        answer = json.dumps(own_score(frame).tolist()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        """Write nothing."""


def server(folder: Path) -> Served:
    """Start a server, which ends with the process of the tests."""
    scoring = ThreadingHTTPServer(("127.0.0.1", 0), Scoring)
    threading.Thread(target=scoring.serve_forever, daemon=True).start()
    columns = [c for c in COLUMNS if c != "store"]
    return Served(f"http://127.0.0.1:{scoring.server_port}/predict", columns, own_score(NEW))


FORMATS: dict[str, Callable[[Path], Served]] = {
    "scikit-learn joblib classifier": partial(sklearn_file, kind="joblib"),
    "scikit-learn skops classifier": partial(sklearn_file, kind="skops"),
    "scikit-learn pickle regressor": partial(sklearn_file, kind="pickle", regression=True),
    "text series": text_series,
    "encoders of categories of numbers": category_encoders,
    "categories of numbers by type": categories_by_type,
    "LightGBM txt, categories of numbers": partial(lightgbm_file, more=("shop", "size", "gift")),
    "XGBoost json, categories of numbers": partial(xgboost_file, suffix="json", more=("shop",)),
    "LightGBM txt classifier": lightgbm_file,
    "LightGBM txt regressor": partial(lightgbm_file, regression=True),
    "XGBoost json classifier": partial(xgboost_file, suffix="json"),
    "XGBoost ubj regressor": partial(xgboost_file, suffix="ubj", regression=True),
    "CatBoost cbm classifier": catboost_file,
    "CatBoost cbm regressor": partial(catboost_file, regression=True),
    "ONNX classifier": onnx_file,
    "ONNX regression": partial(onnx_file, regression=True),
    "MLflow sklearn": partial(mlflow_folder, pyfunc=False),
    "MLflow pyfunc": partial(mlflow_folder, pyfunc=True),
    "module:function": function,
    "http server": server,
}
