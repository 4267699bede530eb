"""Examples of tables in the documentation and in `examples/` run as they stand, without a network."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import re
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import polars as pl
import pytest
import yaml

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/guides/scheduled-checks.md").read_text("utf-8")
TABLES = (ROOT / "docs/guides/tables.md").read_text("utf-8")
NOTEBOOK = json.loads((ROOT / "examples/check_tables.ipynb").read_text("utf-8"))


def block(language: str, title: str) -> str:
    """Return the first block of code below a title of the guide."""
    match = re.search(rf"## {title}\n.*?```{language}\n(.*?)```", GUIDE, re.DOTALL)
    assert match, title
    return match[1]


def write_tables(folder: Path, *, current: str = "today.csv", shift: float = 0.0) -> None:
    rng = np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    for name, moved in (("reference.csv", 0.0), (current, shift)):
        pl.DataFrame({"size": rng.normal(size=500) + moved}).write_csv(folder / name)


def programs(folder: Path) -> dict[str, str]:
    """Return an environment with `driftbell`, and with a `pip` that does nothing."""
    folder.mkdir()
    for name, command in (("driftbell", f'"{sys.executable}" -m driftbell "$@"'), ("pip", ":")):
        program = folder / name
        program.write_text(f"#!/bin/sh\n{command}\n")
        program.chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    return os.environ | {"PATH": path, "DRIFTBELL_DATA_DIR": str(folder / "data")}


@pytest.mark.parametrize(("shift", "code", "words"), [(0.0, 0, "No drift"), (2.0, 1, "Drift in size")])
def test_the_workflow_of_github_actions_runs(shift: float, code: int, words: str, tmp_path: Path) -> None:
    write_tables(tmp_path / "data", shift=shift)
    summary = tmp_path / "summary.md"
    environment = programs(tmp_path / "bin") | {"GITHUB_STEP_SUMMARY": str(summary)}
    codes: list[int] = []
    steps = yaml.safe_load(block("yaml", "GitHub Actions"))["jobs"]["drift"]["steps"]
    for step in (step for step in steps if "run" in step):
        assert not any(codes) or "!cancelled()" in step["if"]
        bash = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        codes.append(subprocess.run(bash, cwd=tmp_path, env=environment, check=False).returncode)
    assert codes == [0, code, 0]
    assert words in summary.read_text("utf-8")
    assert (tmp_path / "drift.html").stat().st_size > 1000


@pytest.mark.parametrize(("shift", "words"), [(0.0, ""), (2.0, "Drift in size"), (None, "No such file")])
def test_the_line_of_cron_prints_only_what_is_not_fine(
    shift: float | None, words: str, tmp_path: Path
) -> None:
    environment = programs(tmp_path / "bin")
    day = subprocess.run(["date", "+%F"], capture_output=True, text=True, check=True).stdout.strip()
    write_tables(tmp_path, current="other.csv" if shift is None else f"{day}.csv", shift=shift or 0.0)
    line = block("cron", "cron").strip().split("\n")[-1].split(maxsplit=5)[5]
    command = line.replace(r"\%", "%").replace("/data/", f"{tmp_path}/")
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=environment, check=False)
    assert words in done.stdout
    assert bool(done.stdout) == bool(words)
    assert not done.stderr


def test_the_flow_of_prefect_fails_and_keeps_the_columns(tmp_path: Path) -> None:
    artifacts: list[str] = []

    def same(function: Callable[..., Any]) -> Callable[..., Any]:
        return function

    prefect, module = types.ModuleType("prefect"), types.ModuleType("prefect.artifacts")
    vars(prefect).update(flow=same, task=same)
    vars(module).update(create_markdown_artifact=lambda text, key: artifacts.append(text))
    space: dict[str, Any] = {"__name__": "flow"}
    with patch.dict(sys.modules, {"prefect": prefect, "prefect.artifacts": module}):
        exec(compile(block("python", "Prefect"), "flow", "exec"), space)
    write_tables(tmp_path, shift=2.0)
    with patch.dict(os.environ, programs(tmp_path / "bin")):
        with pytest.raises(RuntimeError, match="ended with 1: see the artifact"):
            space["drift"](str(tmp_path / "reference.csv"), str(tmp_path / "today.csv"))
        with pytest.raises(RuntimeError, match=r"ended with 2: .*lost\.csv"):
            space["drift"](str(tmp_path / "reference.csv"), str(tmp_path / "lost.csv"))
        space["drift"](str(tmp_path / "reference.csv"), str(tmp_path / "reference.csv"))
    assert ["Drift in size" in text for text in artifacts] == [True, False]


def test_the_command_of_airflow_runs(tmp_path: Path) -> None:
    tree = ast.parse(block("python", "Airflow"))
    (command,) = [
        ast.literal_eval(k.value)
        for k in ast.walk(tree)
        if isinstance(k, ast.keyword) and k.arg == "bash_command"
    ]
    write_tables(tmp_path, current="2026-01-31.csv", shift=2.0)
    command = command.replace("{{ ds }}", "2026-01-31").replace("/data/", f"{tmp_path}/")
    environment = programs(tmp_path / "bin")
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "Drift in size" in done.stdout


def test_the_notebook_runs_and_shows_its_results(tmp_path: Path) -> None:
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    space: dict[str, Any] = {}
    shown: list[Any] = []
    output = io.StringIO()
    with contextlib.chdir(tmp_path), contextlib.redirect_stdout(output):
        for cell in (c for c in NOTEBOOK["cells"] if c["cell_type"] == "code"):
            assert not cell["outputs"]
            tree = ast.parse("".join(cell["source"]))
            last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, "cell", "exec"), space)
            if isinstance(last, ast.Expr):
                shown.append(eval(compile(ast.Expression(last.value), "cell", "eval"), space))
    unchanged, changed, frame = shown
    assert "No drift" in unchanged._repr_html_()
    assert "Drift in amount" in changed._repr_html_()
    assert frame.height == 4
    assert "Drift in amount" in output.getvalue()
    assert "</html>" in (tmp_path / "drift.html").read_text("utf-8")


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", TABLES, re.DOTALL))
def test_python_examples_of_the_guide_run(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(code, "tables.md", "exec"), {})
    assert "zip" in capsys.readouterr().out
