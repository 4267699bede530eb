"""The reference of a served model is read with the settings of its columns."""

from __future__ import annotations

from pathlib import Path

import pytest

from driftbell.config.settings import load
from driftbell.errors import ConfigError
from driftbell.wiring.native_model import read_reference


def test_the_settings_of_the_columns_apply_to_the_reference(tmp_path: Path) -> None:
    path = tmp_path / "past.csv"
    path.write_text("id;zip;age;label\n1;10115;31;yes\n2;80331;NA;no\n")
    names = {"columns.kinds": {"zip": "categorical"}, "columns.exclude": ("id",)}
    settings = load(environment={}, overrides=names).settings
    table, labels = read_reference(path, settings.columns.options, "label")
    columns = table.columns
    assert table.dtypes == {"zip": "object", "age": "float64", "label": "object"}
    assert list(columns) == ["zip", "age"]
    assert columns["zip"].tolist() == ["10115", "80331"]
    assert str(columns["age"].tolist()) == "[31.0, nan]"
    assert labels is not None
    assert labels.tolist() == ["yes", "no"]
    wrong = load(environment={}, overrides={"columns.exclude": ("idd",)}).settings
    with pytest.raises(ConfigError, match="exclude: the table has no column 'idd': did you mean 'id'"):
        read_reference(path, wrong.columns.options, "label")
