"""The largest negligible change of single columns: settings, and `driftbell check --smallest-effect`."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.command_line import driftbell

from driftbell.config.check import CheckSettings
from driftbell.errors import ConfigError


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    for name, shift in (("before", 0), ("now", 30)):
        rows = [f"{i % 100 + shift},{i % 100 + shift}" for i in range(1000)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["a=b,size", *rows]))
    return tmp_path


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        ((), 1, "Drift in a=b and size"),
        (("--smallest-effect", "0.5"), 0, "No drift"),
        (("--smallest-effect", "a=b=0.5"), 1, "Drift in size"),
        (("--smallest-effect", "0.5", "--smallest-effect", "size=0.1"), 1, "Drift in size"),
    ],
)
def test_options_are_for_all_columns_or_for_one(
    tables: Path, options: tuple[str, ...], code: int, sentence: str
) -> None:
    done = driftbell("check", "before.csv", "now.csv", *options, cwd=tables)
    assert done.returncode == code
    assert sentence in done.stdout.splitlines()[0]


def test_the_settings_have_a_table_of_columns_and_options_add_to_it(tables: Path) -> None:
    (tables / "driftbell.toml").write_text(
        '[check]\nsmallest_effect = 0.01\n[check.smallest_effects]\n"a=b" = 0.5\n'
    )
    assert "Drift in size" in driftbell("check", "before.csv", "now.csv", cwd=tables).stdout
    option = ("--smallest-effect", "size=0.5")
    assert driftbell("check", "before.csv", "now.csv", *option, cwd=tables).returncode == 0


@pytest.mark.parametrize("text", ["1", "x", "size=", "size=1", "-0.1", "size=nan", ""])
def test_an_option_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--smallest-effect must be from 0 to below 1"):
        CheckSettings().with_effects([text])


def test_an_unknown_column_is_refused(tables: Path) -> None:
    done = driftbell("check", "before.csv", "now.csv", "--smallest-effect", "sizes=0.1", cwd=tables)
    assert done.returncode == 2
    assert "the reference has no column 'sizes': did you mean 'size'?" in done.stderr


def test_the_settings_that_apply_and_the_columns_that_are_not_read_are_named(tables: Path) -> None:
    (tables / "driftbell.toml").write_text(
        '[columns]\nexclude = ["si*"]\ndtypes = {size = "str"}\n[check]\nminimum_rows = 20\nevery = "1m"\n'
    )
    done = driftbell("check", "before.csv", "now.csv", cwd=tables)
    assert "driftbell.toml sets columns.exclude and check.minimum_rows; not read: size\n" in done.stderr
    assert "size" not in done.stdout
    done = driftbell("profile", "before.csv", "-o", "before.json", cwd=tables)
    assert "driftbell.toml sets columns.exclude and check.minimum_rows; not read: size\n" in done.stderr
    (tables / "driftbell.toml").write_text("[server]\nport = 8001\n")
    assert driftbell("check", "before.csv", "now.csv", cwd=tables).stderr == ""
