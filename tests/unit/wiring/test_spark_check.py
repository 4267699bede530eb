"""What `--engine spark` refuses, before Spark is started."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

import driftbell
from driftbell.cli import cli


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--engine", "spark"], "--engine spark needs two tables"),
        (["--log", "--engine", "spark"], "--engine spark needs two tables"),
        (["a.parquet", "a.parquet", "--spark-master", "local[1]"], "--spark-master needs --engine spark"),
        (["a.parquet", "a.parquet", "--engine", "spark", "--spark-master", ""], "must not be empty"),
        (["a.parquet", "sqlite:///a", "--engine", "spark"], "reads no databases"),
        (["a.parquet", "a.parquet", "--engine", "spark", "--query", "SELECT 1"], "reads no databases"),
        (["profile.json", "a.parquet", "--engine", "spark"], "is a profile, which --engine spark cannot use"),
    ],
)
def test_refusals(arguments: list[str], words: str, tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    frame = pl.DataFrame({"x": ["a", "b"] * 20})
    frame.write_parquet("a.parquet")
    driftbell.profile(frame).save("profile.json")
    result = CliRunner().invoke(cli, ["check", *arguments])
    assert words in str(result.output) + str(result.exception)
    assert result.exit_code != 0
