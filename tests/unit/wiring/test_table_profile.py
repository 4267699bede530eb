"""A profile gives the verdicts of the rows, with p-values close to theirs."""

from __future__ import annotations

import datetime as dt
import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import driftbell
from driftbell.errors import ConfigError, InputError
from driftbell.records import ColumnVerdict, Verdict


def table(seed: int, rows: int, shift: float = 0.0) -> dict[str, Any]:
    """Return columns of every kind, of which each has another change."""
    rng = np.random.default_rng(seed)
    tail = 1 / np.arange(1, 121)
    tail[0] += 2 * shift
    words = np.array(["alpha", "beta", "Omega 7", "x-y"])
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    return {
        "still": rng.normal(size=rows),
        "normal": rng.normal(shift, 1, rows),
        "zeros": np.where(rng.random(rows) < 0.6 - shift / 4, 0, rng.exponential(size=rows)),
        "price": np.round(rng.gamma(2, 10 * (1 + shift), rows), 2),
        "count": rng.poisson(4 * (1 + shift), rows),
        "plan": rng.choice(list("abc"), rows, p=[0.5 + shift / 3, 0.3 - shift / 3, 0.2]).tolist(),
        "tail": np.array([f"c{i}" for i in range(120)])[rng.choice(120, rows, p=tail / tail.sum())].tolist(),
        "flag": (rng.random(rows) < 0.3 + shift / 2).tolist(),
        "time": [start + dt.timedelta(seconds=int(s)) for s in rng.integers(0, 40 * 86400, rows)],
        "note": [
            f"{' '.join(rng.choice(words, k))} {i % 1000:03}"
            for i, k in enumerate(rng.integers(2, 9 + int(20 * shift), rows).tolist())
        ],
        "id": [f"u{i * 7919 % 100_003}x" for i in range(rows)],
    }


def by_column(result: driftbell.TableCheck) -> dict[str, ColumnVerdict]:
    return {column.column: column for column in result.columns}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_verdicts_are_those_of_the_rows(seed: int, shift: float) -> None:
    before, now = table(seed, 600), table(seed + 100, 400, shift)
    raw = by_column(driftbell.check(before, now))
    profiled = by_column(driftbell.check(driftbell.profile(before), now))
    assert [c.drifted for c in profiled.values()] == [c.drifted for c in raw.values()]
    assert [c.compared for c in profiled.values()] == [c.compared for c in raw.values()]
    for name, column in raw.items():
        if not column.compared:
            continue
        p, q = (c.comparison.p_value for c in (column, profiled[name]))
        assert p is not None
        assert q is not None
        assert abs(np.log10(max(p, 1e-99)) - np.log10(max(q, 1e-99))) < max(1.0, -np.log10(max(p, 1e-99)) / 4)


def test_unchanged_columns_are_not_listed_more_often_than_with_rows() -> None:
    false = {"rows": 0, "profile": 0}
    weak = {"rows": 0, "profile": 0}
    for seed in range(30):
        before, now = table(seed, 300), table(seed + 1000, 300)
        for name, reference in (("rows", before), ("profile", driftbell.profile(before))):
            result = driftbell.check(reference, now)
            false[name] += len(result.drifted_columns)
            weak[name] += sum((c.comparison.p_value or 1) <= 0.05 for c in result.columns if c.compared)
    assert false["profile"] <= max(false["rows"], 1)
    assert weak["profile"] <= 1.25 * 0.05 * 30 * 10


def test_without_rare_categories_the_test_is_exactly_that_of_the_rows() -> None:
    before, now = table(1, 600), table(2, 600, 0.2)
    raw, profiled = (by_column(driftbell.check(r, now)) for r in (before, driftbell.profile(before)))
    for name in ("plan", "flag", "time"):
        assert raw[name].comparison.p_value == profiled[name].comparison.p_value, name


def test_numbers_in_another_precision_are_the_same() -> None:
    values = np.array([0.1, 0.2, 0.3])[np.random.default_rng(0).integers(0, 3, 400)]
    for before, now in ((values, values.astype(np.float32)), (values.astype(np.float32), values)):
        result = driftbell.check(driftbell.profile({"x": before}), {"x": now})
        assert result.columns[0].comparison.p_value == 1.0
    amounts = np.random.default_rng(0).lognormal(size=2000)
    result = driftbell.check(driftbell.profile({"x": amounts}), {"x": amounts.astype(np.float32)})
    assert result.verdict is Verdict.OK
    assert result.columns[0].comparison.p_value == 1.0


def test_a_rare_category_is_not_called_new() -> None:
    before = {"city": ["Rome"] * 60 + ["Oslo"] * 36 + ["Jane", "Joe", "Ann", "Bo"]}
    now = {"city": ["Rome"] * 60 + ["Jane"] * 40}
    reason = driftbell.check(driftbell.profile(before), now).columns[0].reason
    assert "rare or new Jane 1.0% → 40.0%" in reason
    assert (
        "new Zed"
        in driftbell.check(driftbell.profile(before), {"city": ["Rome"] * 60 + ["Zed"] * 40})
        .columns[0]
        .reason
    )


def test_kinds_nulls_and_dates_of_the_profile_apply_to_the_current_table(tmp_path: Path) -> None:
    before = {
        "zip": [10115, 80331, 50667] * 50,
        "day": [f"{1 + i % 28:02}/{1 + i % 2:02}/2026" for i in range(150)],
        "x": ["1", "2", "gone"] * 50,
        "row_1": list(range(150)),
    }
    profile = driftbell.profile(before, columns={"zip": "categorical"}, nulls=["gone"], exclude=["row_*"])
    profile.save(tmp_path / "ref.json")
    now = before | {"day": [f"{1 + i % 12:02}/02/2026" for i in range(150)]}
    result = driftbell.check(tmp_path / "ref.json", now)
    kinds = {c.column: c.comparison.kind.value for c in result.columns}
    assert kinds == {"zip": "categorical", "day": "datetime", "x": "numeric"}
    assert [c.comparison.unreadable for c in result.columns] == [(0, 0)] * 3
    assert result.columns[2].comparison.null_shares == pytest.approx((1 / 3, 1 / 3))


def test_a_profile_counts_null_words_and_keeps_the_option(tmp_path: Path) -> None:
    before = {"region": ["NA", "EU"] * 50, "plan": ["None", "a"] * 50}
    driftbell.profile(before, keep_null_words=["region"]).save(tmp_path / "ref.json")
    region, plan = driftbell.check(tmp_path / "ref.json", before).columns
    assert region.comparison.null_shares == (0, 0)
    assert "read as missing: 50 cells 'None' in the reference and 50 cells 'None' in current" in plan.reason


def test_options_select_columns_of_the_profile() -> None:
    profile = driftbell.profile({"a": [1, 2, 3] * 20, "b": [1, 2, 3] * 20})
    now = {"a": [1, 2, 3] * 20, "b": [7, 8, 9] * 20}
    assert [c.column for c in driftbell.check(profile, now, exclude=["b"]).columns] == ["a"]
    with pytest.raises(ConfigError, match="exclude: the table has no column 'c'"):
        driftbell.check(profile, now, exclude=["c"])
    with pytest.raises(ConfigError, match="column 'a' is numeric in the profile, not text: set its kind"):
        driftbell.check(profile, now, columns={"a": "text"})
    assert driftbell.check(profile, now, columns={"a": "numeric"}).drifted_columns == ("b",)


@pytest.mark.parametrize(
    "options",
    [
        {"exclude": ["c", "row_*"]},
        {"include": ["a", "b"]},
        {"exclude": ["c", "row_*"], "columns": {"c": "text"}, "keep_null_words": ["c", "b"]},
    ],
    ids=["exclude", "include", "all"],
)
def test_options_of_the_profile_may_be_given_again(options: dict[str, Any], tmp_path: Path) -> None:
    table = {"a": [1, 2, 3] * 20, "b": ["x", "y", "NA"] * 20, "c": ["u", "v", "w"] * 20, "row_1": [1] * 60}
    driftbell.profile(table, **options).save(tmp_path / "ref.json")
    result = driftbell.check(tmp_path / "ref.json", table, **options)
    assert [c.column for c in result.columns] == ["a", "b"]
    narrow = driftbell.check(tmp_path / "ref.json", table, include=["a"])
    assert [c.column for c in narrow.columns] == ["a"]
    with pytest.raises(ConfigError, match="exclude: the table has no column 'd'"):
        driftbell.check(tmp_path / "ref.json", table, exclude=["d"])


def test_limits_are_those_of_the_current_cells() -> None:
    profile = driftbell.profile({"a": np.arange(1000.0)})
    result = driftbell.check(profile, {"a": np.arange(1000.0) + 0.25}, limits={"a.max": 999.2})
    assert result.judgement.limits[0].value == 999.25
    with pytest.raises(ConfigError, match="limits"):
        driftbell.check(profile, {"a": [1.0]}, limits={"b.max": 1})


def test_predictions_are_compared_and_labels_are_refused() -> None:
    before = {"a": [1, 2, 3] * 20, "answer": ["yes", "no", "no"] * 20, "truth": ["yes", "no", "yes"] * 20}
    profile = driftbell.profile(before)
    roles = [c.comparison.role for c in driftbell.check(profile, before, prediction="answer").columns]
    assert roles == ["feature", "prediction", "feature"]
    with pytest.raises(
        ConfigError, match="a profile has no rows, so the performance on the reference cannot"
    ):
        driftbell.check(profile, before, prediction="answer", label="truth")
    with pytest.raises(
        ConfigError, match=r"the reference has no column 'anwser' \(prediction\): did you mean"
    ):
        driftbell.check(profile, before, prediction="anwser")


def test_the_result_says_that_the_reference_is_a_profile() -> None:
    result = driftbell.check(driftbell.profile({"a": np.arange(1000.0)}), {"a": np.arange(1000.0)})
    facts = json.loads(result.to_json())["detected"]["reference"]
    assert facts == {"format": "profile, binned at 256", "largest_interval": 0.005}
    assert result.rows == (1000, 1000)


def test_numbers_beyond_the_profile_are_named_with_rounded_ends() -> None:
    profile = driftbell.profile({"a": np.random.default_rng(0).normal(size=1000)})
    reason = driftbell.check(profile, {"a": np.full(1000, 50.0)}).columns[0].reason
    assert "1,000 of 1,000 rows above the reference's rounded maximum" in reason


def test_a_profile_is_no_table(tmp_path: Path) -> None:
    profile, rows = driftbell.profile({"a": [1, 2, 3]}), {"a": [1, 2, 3]}
    profile.save(tmp_path / "ref.json")
    for read in (
        lambda: driftbell.check(rows, tmp_path / "ref.json"),
        lambda: driftbell.profile(tmp_path / "ref.json"),
        lambda: driftbell.infer_schema(tmp_path / "ref.json"),
    ):
        with pytest.raises(ConfigError, match="it is a profile, which has no rows"):
            read()
    with pytest.raises(InputError, match="got TableProfile"):
        driftbell.check(rows, profile)
    (tmp_path / "lines.json").write_text('{"a": 1}\n{"a": 2}\n')
    assert driftbell.check(tmp_path / "lines.json", rows).rows == (2, 3)


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    pipe, rows = tmp_path / "pipe.csv", ["size", *map(str, range(100))]
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("\n".join(rows),))
    writer.start()
    result = driftbell.check(pipe, {"size": list(range(100))})
    writer.join()
    assert result.rows == (100, 100)


def test_columns_of_every_state_are_compared_as_with_rows() -> None:
    before = {"gone": [None] * 50, "full": [1.0] * 50, "list": [[1]] * 50, "inf": [np.inf, 1.0] * 25}
    now = {
        "gone": [1.0] * 50,
        "full": [None] * 50,
        "list": [[2]] * 50,
        "inf": [np.inf, 1.0] * 25,
        "more": [1] * 50,
    }
    raw, profiled = (driftbell.check(r, now) for r in (before, driftbell.profile(before)))
    assert [c.reason for c in profiled.columns] == [c.reason for c in raw.columns]
    assert profiled.sentence == raw.sentence
