"""Rows of `driftbell simulate --reference` are read as the service reads its own reference."""

from __future__ import annotations

from pathlib import Path

from driftbell.cli.run import simulated_table
from driftbell.config.settings import Settings, load


def configured(folder: Path) -> Settings:
    (folder / "past.csv").write_text("id,zip,age,label\nC1,10115,31,yes\nC2,20095,42,no\n")
    (folder / "other.csv").write_text("zip,age\n10115,31\n")
    (folder / "driftbell.toml").write_text(
        f'[model]\npath = "m.skops"\nreference = "{folder / "past.csv"}"\ntarget = "label"\n'
        '[columns]\nexclude = ["id"]\ndtypes = { zip = "str" }\n'
    )
    return load(folder / "driftbell.toml", environment={}).settings


def test_the_configured_reference_has_its_types_and_no_other_columns(tmp_path: Path) -> None:
    table = simulated_table(tmp_path / "past.csv", None, configured(tmp_path))
    assert {n: c.tolist() for n, c in table.items()} == {"zip": ["10115", "20095"], "age": [31.0, 42.0]}


def test_another_table_is_read_as_it_is(tmp_path: Path) -> None:
    table = simulated_table(tmp_path / "other.csv", "age", configured(tmp_path))
    assert {n: c.tolist() for n, c in table.items()} == {"zip": [10115.0]}
