"""Judge one table file against another. Needs no store, so `pip install driftbell` is enough."""

from __future__ import annotations

from pathlib import Path

from driftbell.config.settings import Settings
from driftbell.drift.compare import compare
from driftbell.drift.judge import judge
from driftbell.records import Judgement
from driftbell.tabular.files import read_table


def judge_files(reference: Path, current: Path, settings: Settings) -> Judgement:
    """Judge one table against another.

    Raises:
        ConfigError: a file cannot be read.
    """
    reference_columns = read_table(reference)
    current_columns = read_table(current, like=reference_columns)
    rows = len(next(iter(current_columns.values()), ()))
    return judge(
        compare(reference_columns, current_columns),
        rows=rows,
        minimum_rows=settings.check.minimum_rows,
        false_discovery_rate=settings.check.false_discovery_rate,
        smallest_effect=settings.check.smallest_effect,
        unit="rows of the file",
    )
