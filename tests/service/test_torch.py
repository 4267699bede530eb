"""From an exported program of PyTorch to a service that answers as PyTorch does."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from tests.command_line import driftbell
from tests.conftest import running

torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'driftbell[torch]'")
nn: Any = torch.nn

pytestmark = pytest.mark.service

ROWS = 240
RNG = np.random.default_rng(0)
TABLE = pd.DataFrame({"age": RNG.integers(18, 80, ROWS), "income": RNG.normal(3, 1, ROWS).round(3)})
FEATURES = torch.tensor(TABLE.to_numpy(np.float32))
BATCH = {0: torch.export.Dim("batch")}


class ByName(nn.Module):
    """A regression on one tensor a feature, in another order than the reference's columns."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 1)

    def forward(self, income: Any, age: Any) -> Any:
        return self.linear(torch.stack([income, age.float() / 50], 1)).squeeze(1)


def one_row_classifier(path: Path) -> tuple[Any, tuple[str, ...]]:
    torch.manual_seed(3)
    module = nn.Sequential(nn.BatchNorm1d(2, affine=False), nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
    module(FEATURES)  # the normalization learns
    torch.export.save(torch.export.export(module.eval(), (FEATURES[:1],)), path)
    with torch.no_grad():
        answers = module(FEATURES).argmax(1)
    return np.array(["no", "yes"])[answers.numpy()], ("--classes", "no,yes")


def regression(path: Path) -> tuple[Any, tuple[str, ...]]:
    torch.manual_seed(3)
    module = ByName().eval()
    columns = FEATURES[:, 1].clone(), torch.tensor(TABLE["age"].to_numpy())
    examples = columns[0][:4], columns[1][:4]
    torch.export.save(torch.export.export(module, examples, dynamic_shapes=(BATCH, BATCH)), path)
    with torch.no_grad():
        return module(*columns).double().numpy(), ()


@pytest.mark.parametrize("build", [one_row_classifier, regression])
def test_a_program_is_served_as_pytorch_answers(build: Any, tmp_path: Path) -> None:
    expected, options = build(tmp_path / "net.pt2")
    TABLE.assign(truth=expected).to_csv(tmp_path / "past.csv", index=False)
    arguments = ("init", "net.pt2", "--reference", "past.csv", "--trust", "--json", *options)
    done = driftbell(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    facts = json.loads(done.stdout)
    assert (facts["target"], facts["golden_rows"]) == ("truth", 200)
    config = tmp_path / "here.toml"
    text = (tmp_path / "driftbell.toml").read_text()
    for name in ("net.pt2", "past.csv", "golden.json"):
        text = text.replace(f'"{name}"', f'"{tmp_path / name}"')
    config.write_text(text)
    rows = json.loads(TABLE.to_json(orient="records", double_precision=15))
    body = io.BytesIO()
    table = pa.Table.from_pandas(TABLE, preserve_index=False)
    with pa.ipc.new_stream(body, table.schema) as stream:
        stream.write_table(table)
    with running("up", tmp_path / "data", "--config", str(config), CHECK__EVERY="off") as service:
        key = "value" if facts["task"] == "regression" else "class"
        single = [httpx.post(f"{service.url}/predict", json=row).json()[key] for row in rows[:20]]
        batch = httpx.post(f"{service.url}/predict/batch", json=rows).json()["predictions"]
        arrow = httpx.post(
            f"{service.url}/predict/batch",
            content=body.getvalue(),
            headers={"Content-Type": "application/vnd.apache.arrow.stream"},
        )
        answers = pa.ipc.open_stream(arrow.content).read_all()[key].to_pylist()
        for actual in (single, [answer[key] for answer in batch], answers):
            wanted = expected[: len(actual)].tolist()
            assert actual == (pytest.approx(wanted, rel=1e-6) if key == "value" else wanted)
        refused = httpx.post(f"{service.url}/predict", json={**rows[0], "age": None})
        assert refused.status_code == 422
        assert "age" in refused.text
        status = httpx.get(f"{service.url}/monitor/status").json()
        assert status["engine"] == "native"
        assert '"type":"PyTorch program; output: ' in service.output.read_text().replace('": "', '":"')
