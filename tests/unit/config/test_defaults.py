from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from driftbell.config.defaults import load_for_tables
from driftbell.config.settings import Settings
from driftbell.errors import ConfigError


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_without_a_file_and_variables_the_settings_are_the_defaults() -> None:
    quick, full = load_for_tables(), Settings()
    assert not isinstance(quick, Settings)
    for section in ("check", "columns"):
        values, settings = getattr(quick, section), getattr(full, section)
        no_settings = {"known", "always"}  # values of a model, and columns that an option names
        names = {field.name for field in fields(values)} - no_settings
        for name in names:
            assert getattr(values, name) == getattr(settings, name), name
    assert dict(quick.limits) == full.limits
    assert quick.window == full.window  # of any other section


def test_a_variable_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTBELL_CHECK__SMALLEST_EFFECT", "0.25")
    assert load_for_tables().check.smallest_effect == 0.25
    monkeypatch.setenv("DRIFTBELL_CHECK__SMALLEST_EFFECT", "5")
    with pytest.raises(ConfigError, match=r"check\.smallest_effect"):
        load_for_tables()


@pytest.mark.parametrize("named", [True, False])
def test_a_file_counts(tmp_path: Path, named: bool) -> None:
    file = tmp_path / ("my.toml" if named else "driftbell.toml")
    file.write_text("[check]\nminimum_rows = 77\n")
    assert load_for_tables(file if named else None).check.minimum_rows == 77
    file.write_text("[check]\nminimum_row = 77\n")
    with pytest.raises(ConfigError, match="unknown setting"):
        load_for_tables(file if named else None)


def test_a_missing_file_is_an_error() -> None:
    with pytest.raises(ConfigError, match="cannot read the configuration file"):
        load_for_tables(Path("none.toml"))
