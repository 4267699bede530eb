"""Exported programs of PyTorch are answered as by PyTorch."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.init_tables import run, served

from driftbell.config.settings import load
from driftbell.errors import ConfigError, ModelError, PredictError, UntrustedModelError
from driftbell.models.conversion_cache import file_sha256
from driftbell.models.load import load_model
from driftbell.models.loaded import LoadedModel
from driftbell.records import Task
from driftbell.wiring.native_model import open_native

torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'driftbell[torch]'")
nn: Any = torch.nn
Dim: Any = torch.export.Dim

ROWS = 120
RNG = np.random.default_rng(5)
FRAME = pd.DataFrame(
    {
        "age": RNG.integers(18, 80, ROWS),
        "income": RNG.normal(3, 1, ROWS),
        "store": RNG.integers(0, 5, ROWS),
        "member": RNG.random(ROWS) > 0.5,
    }
)
BATCH = Dim("batch")
Build = Callable[..., Path]


class Table(nn.Module):
    """A network on one tensor of all features."""

    def __init__(self, outputs: int, last: Callable[[Any], Any] = lambda scores: scores) -> None:
        super().__init__()
        torch.manual_seed(outputs)
        self.layers = nn.Sequential(
            nn.BatchNorm1d(4), nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, outputs)
        )
        self.last = last

    def forward(self, x: Any) -> Any:
        return self.last(self.layers(x))


class Columns(nn.Module):
    """A network on one tensor a feature."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.stores, self.linear = nn.Embedding(5, 2), nn.Linear(5, 3)

    def forward(self, store: Any, age: Any, income: Any, member: Any) -> Any:
        numbers = torch.stack([age / 50, income, member.float()], 1)
        return self.linear(torch.cat([self.stores(store), numbers], 1))


class Mapped(nn.Module):
    """A network on a dict of tensors with names that are no identifiers."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 1)

    def forward(self, features: Any) -> Any:
        return {"value": self.linear(torch.stack([features["age (years)"], features["income"]], 1))}


def table(rows: int = ROWS) -> Any:
    return torch.tensor(FRAME.to_numpy(np.float32)[:rows])


def columns(rows: int = ROWS) -> tuple[Any, ...]:
    return (
        torch.tensor(FRAME["store"].to_numpy()[:rows]),
        torch.tensor(FRAME["age"].to_numpy(np.float32)[:rows]),
        torch.tensor(FRAME["income"].to_numpy(np.float32)[:rows]),
        torch.tensor(FRAME["member"].to_numpy()[:rows]),
    )


def save(module: Any, path: Path, args: tuple[Any, ...], **options: Any) -> Path:
    options.setdefault("dynamic_shapes", tuple({0: BATCH} for _ in args))
    torch.export.save(torch.export.export(module, args, **options), path)
    return path


def loaded(path: Path, *classes: str) -> LoadedModel:
    return load_model(path, file_sha256(path), classes)[0]


def opened(path: Path, *classes: str, frame: pd.DataFrame = FRAME) -> Any:
    reference = path.with_name("past.csv")
    frame.to_csv(reference, index=False)
    overrides = {
        "model.path": path,
        "model.sha256": file_sha256(path),
        "model.reference": reference,
        "model.classes": list(classes),
    }
    settings = load(environment={}, overrides=overrides).settings
    return open_native(settings, path, reference, "net").model


def answers(model: Any, frame: pd.DataFrame = FRAME) -> tuple[list[Any], Any]:
    rows = json.loads(frame.to_json(orient="records", double_precision=15))
    return model.answer([model.schema.validate(row) for row in rows])


def expected(module: Any, *args: Any) -> Any:
    with torch.no_grad():
        return module(*args).double().numpy()


def softmax(scores: Any) -> Any:
    return torch.softmax(scores, 1)


SHAPES = {
    "any number of rows": (4, ({0: BATCH},)),
    "at most 50 rows": (4, ({0: Dim("batch", min=2, max=50)},)),
    "one row": (1, None),
    "eight rows": (8, None),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("last", [None, softmax, lambda scores: torch.log_softmax(scores, 1)])
def test_scores_of_each_class_become_probabilities(shape: str, last: Any, tmp_path: Path) -> None:
    module = (Table(3, last) if last else Table(3)).eval()
    rows, dynamic = SHAPES[shape]
    model = opened(save(module, tmp_path / "m.pt2", (table(rows),), dynamic_shapes=dynamic))
    values, probabilities = answers(model)
    scores = expected(Table(3).eval(), table())
    wanted = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, wanted, atol=1e-6)
    assert (values, model.classes) == (scores.argmax(axis=1).tolist(), ("0", "1", "2"))
    assert model.loaded.description.endswith("output: probabilities") == (last is softmax)
    assert answers(model, FRAME[:1])[0] == values[:1]
    assert model.predict(model.schema.columns([])).values.shape == (0,)


SINGLE = {
    "logit": (lambda s: s, True),
    "logit of shape (n,)": (lambda s: s.squeeze(1), True),
    "probability": (torch.sigmoid, False),
    "probability of shape (n,)": (lambda s: torch.sigmoid(s).select(1, 0), False),
    "probability without an operator of its own": (lambda s: 1 / (1 + torch.exp(-s)), False),
}


@pytest.mark.parametrize("name", SINGLE)
def test_one_number_is_a_regression_or_the_score_of_the_second_of_two_classes(
    name: str, tmp_path: Path
) -> None:
    last, is_logit = SINGLE[name]
    module = Table(1, last).eval()
    path = save(module, tmp_path / "m.pt2", (table(8),))
    numbers = expected(module, table()).ravel()
    values, none = answers(opened(path))
    np.testing.assert_allclose(values, numbers, rtol=1e-6)
    assert (none, loaded(path).task) == (None, Task.REGRESSION)
    model = opened(path, "no", "yes")
    second = 1 / (1 + np.exp(-numbers)) if is_logit else numbers
    values, probabilities = answers(model)
    np.testing.assert_allclose(np.array(probabilities)[:, 1], second, atol=1e-6)
    assert values == (second > 0.5).astype(int).tolist()
    kind = "logit" if is_logit else "probability"
    assert model.loaded.description.startswith(f"PyTorch program; output: one {kind} of the class yes")
    with pytest.raises(ModelError, match=r"one number a row, and model\.classes has 3 names"):
        loaded(path, "a", "b", "c")


@pytest.mark.parametrize("by_keyword", [False, True])
def test_tensors_of_features_are_matched_by_name(by_keyword: bool, tmp_path: Path) -> None:
    module = Columns().eval()
    names = ("store", "age", "income", "member")
    options: dict[str, Any] = {}
    if by_keyword:
        options = {
            "kwargs": dict(zip(names, columns(4), strict=True)),
            "dynamic_shapes": {name: {0: BATCH} for name in names},
        }
    path = save(module, tmp_path / "m.pt2", () if by_keyword else columns(4), **options)
    model = opened(path)
    assert model.schema.names == names
    scores = expected(module, *columns())
    values, probabilities = answers(model)
    np.testing.assert_allclose(
        np.log(probabilities)[:, :1] - np.log(probabilities), scores[:, :1] - scores, atol=1e-5
    )
    assert values == scores.argmax(axis=1).tolist()
    row = model.schema.validate({**model.schema.example, "store": 1.5})
    with pytest.raises(PredictError) as failure:
        model.answer([row])
    assert str(failure.value.__cause__) == "'store' of the program takes whole numbers without null"


def test_keys_of_a_dict_are_names_of_features(tmp_path: Path) -> None:
    module = Mapped().eval()
    frame = FRAME[["income", "age"]].rename(columns={"age": "age (years)"})
    features = {name: torch.tensor(frame[name].to_numpy(np.float32)) for name in frame}
    shapes = ({name: {0: BATCH} for name in frame},)
    path = save(module, tmp_path / "m.pt2", (features,), dynamic_shapes=shapes)
    values, _ = answers(opened(path, frame=frame), frame)
    with torch.no_grad():
        np.testing.assert_allclose(values, module(features)["value"].numpy().ravel(), rtol=1e-6)


def test_an_argument_matches_a_feature_with_a_space(tmp_path: Path) -> None:
    class Spaced(nn.Module):
        def forward(self, customer_age: Any, income: Any) -> Any:
            return customer_age - income

    frame = FRAME[["income", "age"]].rename(columns={"age": "customer age"})
    examples = torch.tensor([30.0, 40.0]), torch.tensor([2.5, 3.0])
    values, _ = answers(opened(save(Spaced(), tmp_path / "m.pt2", examples), frame=frame), frame)
    np.testing.assert_allclose(values, frame["customer age"] - frame["income"], rtol=1e-6)


def test_texts_and_other_nulls_than_those_of_floats_are_refused(tmp_path: Path) -> None:
    path = save(Table(3).eval(), tmp_path / "m.pt2", (table(4),))
    with pytest.raises(ModelError, match=r"feature 3 of 4 has texts or dates.*module:function.*ONNX"):
        opened(path, frame=FRAME.assign(store="10115x"))
    path = save(Columns().eval(), tmp_path / "n.pt2", columns(4))
    with pytest.raises(ModelError, match="'income' has texts or dates"):
        opened(path, frame=FRAME.assign(income="low"))
    nullable = FRAME.assign(store=FRAME["store"].where(FRAME.index != 3))
    model = opened(path, frame=nullable)
    with pytest.raises(PredictError) as failure:
        answers(model, nullable)
    assert "'store' of the program takes whole numbers without null" in str(failure.value.__cause__)


def test_null_is_nan_and_nan_is_no_answer(tmp_path: Path) -> None:
    nullable = FRAME.assign(income=FRAME["income"].where(FRAME.index != 3))
    model = opened(save(Table(3).eval(), tmp_path / "m.pt2", (table(4),)), frame=nullable)
    with pytest.raises(PredictError) as failure:
        answers(model, nullable)
    assert "NaN" in str(failure.value.__cause__)

    class Imputing(Table):
        def forward(self, x: Any) -> Any:
            return super().forward(torch.nan_to_num(x))

    module = Imputing(3).eval()
    model = opened(save(module, tmp_path / "n.pt2", (table(4),)), frame=nullable)
    scores = expected(module, torch.tensor(nullable.to_numpy(np.float32)))
    assert answers(model, nullable)[0] == scores.argmax(axis=1).tolist()


def test_a_program_runs_only_with_its_hash(tmp_path: Path) -> None:
    path = save(Table(3).eval(), tmp_path / "m.pt2", (table(4),))
    with pytest.raises(UntrustedModelError, match=r"m\.pt2 is a PyTorch program, which can run any code"):
        load_model(path, None)
    with pytest.raises(ModelError, match="is not the pinned model"):
        load_model(path, "0" * 64)


def test_a_program_of_the_training_mode_is_refused(tmp_path: Path) -> None:
    dropout = Table(3)
    dropout.layers[0].eval()
    path = save(dropout, tmp_path / "m.pt2", (table(8),))
    with pytest.raises(ModelError, match=r"answers the same row differently.*model\.eval\(\)"):
        loaded(path)
    normalized = Table(3)
    normalized.layers[3].eval()
    with pytest.raises(ModelError, match=r"training mode: call model\.eval\(\)"):
        loaded(save(normalized, tmp_path / "n.pt2", (table(8),)))


class Returning(nn.Module):
    """A module that returns what a function does."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Any) -> Any:
        return self.function(x)


class TwoTables(nn.Module):
    """A module on two tables."""

    def forward(self, x: Any, y: Any) -> Any:
        return x + y


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: (x.select(1, 0), x.select(1, 1)), "returns 2 outputs"),
        (lambda x: x.unsqueeze(2), r"returns float32 of shape \(n, 4, 1\)"),
        (lambda x: x.argmax(1), r"returns int64 of shape \(n\)"),
        (lambda x: x.mean(0), r"returns float32 of shape \(4\)"),
    ],
)
def test_other_outputs_are_refused(function: Callable[[Any], Any], reason: str, tmp_path: Path) -> None:
    path = save(Returning(function).eval(), tmp_path / "m.pt2", (table(5),))
    with pytest.raises(ModelError, match=reason):
        loaded(path)


def test_several_tables_are_refused(tmp_path: Path) -> None:
    path = save(TwoTables(), tmp_path / "m.pt2", (table(4), table(4)))
    with pytest.raises(
        ModelError, match="takes several tensors, among them 'x' of 4 columns, 'y' of 4 columns"
    ):
        loaded(path)


def test_scores_that_mix_rows_are_refused(tmp_path: Path) -> None:
    path = save(Table(3, lambda scores: torch.softmax(scores, 0)).eval(), tmp_path / "m.pt2", (table(5),))
    with pytest.raises(ModelError, match="mixes rows"):
        loaded(path)


def test_several_sigmoids_are_refused(tmp_path: Path) -> None:
    path = save(Table(3, torch.sigmoid).eval(), tmp_path / "m.pt2", (table(4),))
    with pytest.raises(ModelError, match=r"do not sum to 1.*torch\.softmax"):
        loaded(path)


def test_other_files_of_pytorch_are_refused_with_the_line_that_exports(tmp_path: Path) -> None:
    torch.save(Table(3).state_dict(), tmp_path / "weights.pt2")
    with warnings.catch_warnings():  # PyTorch deprecates TorchScript
        warnings.simplefilter("ignore")
        torch.jit.trace(Table(3).eval(), (table(4),)).save(tmp_path / "script.pt2")
    (tmp_path / "empty.pt2").write_bytes(b"")
    for name in ("weights.pt2", "script.pt2", "empty.pt2"):
        with pytest.raises(ModelError, match=rf"{name} is not a program of torch.export.save.*\.eval\(\)"):
            load_model(tmp_path / name, None)
    damaged = io.BytesIO()
    with zipfile.ZipFile(damaged, "w") as archive:
        archive.writestr("archive/models/model.json", '{"torch_version": "2.99.0"}')
    (tmp_path / "damaged.pt2").write_bytes(damaged.getvalue())
    with pytest.raises(ModelError, match=r"cannot load .*damaged.pt2: .*saved by PyTorch 2\.99\.0"):
        loaded(tmp_path / "damaged.pt2")


def test_init_writes_golden_answers_that_are_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = Table(1).eval()
    save(module, tmp_path / "net.pt2", (table(4),))
    label = np.where(expected(module, table()).ravel() > 0, "yes", "no")
    FRAME.assign(churned=label).to_csv("past.csv", index=False)
    with pytest.raises(ConfigError, match="pass --trust"):
        run("past.csv", "net.pt2", classes=("no", "yes"), trust=False)
    result = run("past.csv", "net.pt2", classes=("no", "yes"))
    assert (result.target, result.golden_rows, result.classes) == ("churned", ROWS, ("no", "yes"))
    assert result.estimator == "PyTorch program; output: one logit of the class yes, sigmoid is applied"
    assert result.score is not None
    assert result.score.metrics[0].value == 1
    assert served(result, json.loads(FRAME.to_json(orient="records", double_precision=15))) == label.tolist()
