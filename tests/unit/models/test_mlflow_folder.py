"""Model folders of MLflow: the files in them are loaded by their own libraries, other flavors by MLflow."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
import yaml
from sklearn.linear_model import LinearRegression, LogisticRegression
from skops import io as skops_io

from driftbell.config.settings import load
from driftbell.errors import ConfigError, ModelError
from driftbell.models import missing_library
from driftbell.models.load import load_model
from driftbell.models.mlflow_folder import folder_sha256
from driftbell.wiring.model import open_model

pytestmark = pytest.mark.usefixtures("tried_here")

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame({"b": RNG.normal(size=80), "a": RNG.integers(0, 9, 80)})
CLASS = (FRAME["b"] > 0).astype(int)
SIGNATURE = {
    "inputs": json.dumps(
        [
            {"type": "double", "name": "b", "required": True},
            {"type": "long", "name": "a", "required": True},
        ]
    ),
    "outputs": "[]",
    "params": None,
}


def folder(path: Path, flavor: str, options: dict[str, Any], **more: Any) -> Path:
    """Return a model folder with an MLmodel as MLflow 3 writes it."""
    path.mkdir(exist_ok=True)
    manifest = {
        "flavors": {
            "python_function": {"loader_module": f"mlflow.{flavor}", "env": {"conda": "conda.yaml"}},
            flavor: {"code": None, **options},
        },
        "mlflow_version": "3.17.2",
        "signature": SIGNATURE,
        **more,
    }
    (path / "MLmodel").write_text(yaml.safe_dump(manifest))
    return path


def skops_folder(path: Path) -> tuple[Path, Any]:
    model = LogisticRegression().fit(FRAME, CLASS)
    result = folder(path, "sklearn", {"pickled_model": "model.skops", "serialization_format": "skops"})
    skops_io.dump(model, result / "model.skops")
    return result, model.predict_proba(FRAME)


def pickle_folder(path: Path) -> tuple[Path, Any]:
    model = LinearRegression().fit(FRAME, FRAME["a"] * 2.0)
    result = folder(path, "sklearn", {"pickled_model": "model.pkl", "serialization_format": "cloudpickle"})
    (result / "model.pkl").write_bytes(pickle.dumps(model))
    return result, model.predict(FRAME)


def lightgbm_folder(path: Path) -> tuple[Path, Any]:
    model = lightgbm.LGBMClassifier(n_estimators=4, verbose=-1).fit(FRAME, CLASS)
    result = folder(path, "lightgbm", {"data": "model.lgb", "model_class": "lightgbm.basic.Booster"})
    model.booster_.save_model(result / "model.lgb")
    return result, model.predict_proba(FRAME)


def xgboost_folder(path: Path) -> tuple[Path, Any]:
    model = xgboost.XGBClassifier(n_estimators=4).fit(FRAME, CLASS)
    result = folder(path, "xgboost", {"data": "model.ubj", "model_class": "xgboost.sklearn.XGBClassifier"})
    model.save_model(result / "model.ubj")
    return result, model.predict_proba(FRAME)


def opened(path: Path, reference: Path, **more: Any) -> Any:
    FRAME.to_csv(reference / "past.csv", index=False)
    overrides = {
        "data_dir": reference / "data",
        "model.path": path,
        "model.reference": reference / "past.csv",
        "model.engine": "native",
        **{f"model.{key}": value for key, value in more.items()},
    }
    return open_model(load(environment={}, overrides=overrides).settings).model


def answers(model: Any) -> Any:
    values, probabilities = model.answer([model.schema.validate(row) for row in FRAME.to_dict("records")])
    return values if probabilities is None else probabilities


@pytest.mark.parametrize("build", [skops_folder, pickle_folder, lightgbm_folder, xgboost_folder])
def test_the_file_inside_answers_as_its_own_library(
    build: Callable[[Path], tuple[Path, Any]], tmp_path: Path
) -> None:
    path, expected = build(tmp_path / "churn")
    model = opened(path, tmp_path, sha256=folder_sha256(path))
    assert (model.name, model.version) == ("churn", folder_sha256(path)[:12])
    assert model.schema.names == ("b", "a")
    np.testing.assert_allclose(answers(model), expected, rtol=0, atol=1e-7)


def test_files_without_code_need_no_hash(tmp_path: Path) -> None:
    for build in (skops_folder, lightgbm_folder, xgboost_folder):
        path, _ = build(tmp_path / build.__name__)
        assert load_model(path, None, ["no", "yes"])[0].classes == ("no", "yes")


def test_a_pickle_inside_needs_the_hash_of_the_folder(tmp_path: Path) -> None:
    path, _ = pickle_folder(tmp_path / "m")
    with pytest.raises(ModelError, match=f'set sha256 = "{folder_sha256(path)}"'):
        load_model(path, None)
    with pytest.raises(ModelError, match=r"is not the pinned model: .*the folder's is"):
        load_model(path, "0" * 64)


def test_another_file_in_the_folder_is_another_hash(tmp_path: Path) -> None:
    path, _ = skops_folder(tmp_path / "m")
    before = folder_sha256(path)
    (path / "extra.py").write_text("x = 1\n")
    assert folder_sha256(path) != before


@pytest.mark.parametrize("key", ["pickled_model", "code", "data", "model_path"])
@pytest.mark.parametrize("name", ["../outside.pkl", "/etc/passwd", "sub/../../outside.pkl"])
def test_a_path_outside_the_folder_is_refused(key: str, name: str, tmp_path: Path) -> None:
    path, _ = pickle_folder(tmp_path / "m")
    (tmp_path / "outside.pkl").write_bytes((path / "model.pkl").read_bytes())
    folder(path, "sklearn", {"pickled_model": "model.pkl", key: name})
    with pytest.raises(ModelError, match=r"MLmodel names '.*', which lies outside the model's folder"):
        load_model(path, folder_sha256(path))


def test_a_link_to_the_outside_is_refused(tmp_path: Path) -> None:
    path, _ = pickle_folder(tmp_path / "m")
    os.rename(path / "model.pkl", tmp_path / "outside.pkl")
    (path / "model.pkl").symlink_to(tmp_path / "outside.pkl")
    with pytest.raises(ModelError, match="lies outside the model's folder"):
        load_model(path, "0" * 64)


ALIASES = "flavors: &a {x: 1}\nother: [*a, *a]\n"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "is a folder without the file MLmodel, so it is no MLflow model"),
        ("flavors: [", "is not valid YAML"),
        ("\0", "is not valid YAML"),
        ("just text", "it has no flavors"),
        ("flavors: {sklearn: 3}", "it has no flavors"),
        ("flavors: {sklearn: {}}", "names no file of its flavor 'sklearn'"),
        ("flavors: {sklearn: {pickled_model: none.pkl}}", "names no file of its flavor 'sklearn'"),
        ("flavors: {spark: {}}", "has no flavor that can be served: spark"),
        (ALIASES, "larger than 1 MiB, or with aliases"),
        ("x: " + "y" * 1024**2, "larger than 1 MiB, or with aliases"),
    ],
)
def test_a_folder_that_is_no_model_is_refused(content: str | None, problem: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "MLmodel").write_text(content)
    with pytest.raises(ModelError, match=problem):
        load_model(tmp_path, None)


@pytest.mark.parametrize("inputs", ["{", "[1]", '[{"name": "a"}]'])
def test_a_signature_of_another_form_is_refused(inputs: str, tmp_path: Path) -> None:
    path, _ = skops_folder(tmp_path / "m")
    folder(path, "sklearn", {"pickled_model": "model.skops"}, signature={"inputs": inputs})
    with pytest.raises(ModelError, match="the signature of the MLflow model is not as MLflow writes it"):
        load_model(path, None)


def test_another_flavor_needs_consent_and_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder(tmp_path / "m", "pytorch", {"model_data": "data"})
    with pytest.raises(ModelError, match="python_function of MLflow, which can run any code"):
        load_model(path, None)
    own = import_module

    def missing(name: str) -> Any:
        if name.startswith("mlflow"):
            raise ModuleNotFoundError("No module named 'mlflow'", name="mlflow")
        return own(name)

    monkeypatch.setattr(missing_library, "import_module", missing)
    with pytest.raises(ConfigError, match=r"pip install 'driftbell\[mlflow\]'"):
        load_model(path, folder_sha256(path))


@pytest.mark.filterwarnings("ignore::UserWarning")  # as errors, hints stop MLflow's inference
def test_a_python_function_is_called_by_mlflow(tmp_path: Path) -> None:
    pyfunc: Any = pytest.importorskip("mlflow.pyfunc")

    class Positive(pyfunc.PythonModel):
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            assert model_input.dtypes.astype(str).tolist() == ["float64", "int64"]
            return (model_input["b"] > 0).astype(int)

    from mlflow.models import infer_signature

    path = tmp_path / "m"
    pyfunc.save_model(path, python_model=Positive(), signature=infer_signature(FRAME, CLASS))
    model = opened(path, tmp_path, sha256=folder_sha256(path), classes=["no", "yes"])
    assert answers(model) == CLASS.tolist()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_signature_without_names_tells_how_many_columns_mlflow_passes(tmp_path: Path) -> None:
    """MLflow would give the model the first column of the two."""
    pyfunc: Any = pytest.importorskip("mlflow.pyfunc")

    class Positive(pyfunc.PythonModel):
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            return (model_input["b"] > 0).astype(int)

    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, Schema

    for count in (1, 2):
        path = tmp_path / f"m{count}"
        signature = ModelSignature(inputs=Schema([ColSpec("double"), ColSpec("long")][:count]))
        pyfunc.save_model(path, python_model=Positive(), signature=signature)
        sha256 = folder_sha256(path)
        if count == 1:
            with pytest.raises(ConfigError, match="takes 1 feature, its reference has 2"):
                opened(path, tmp_path, sha256=sha256, classes=["no", "yes"])
            continue
        model = opened(path, tmp_path, sha256=sha256, classes=["no", "yes"])
        assert answers(model) == CLASS.tolist()
