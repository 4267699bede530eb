"""Tables larger than `exact_rows`: verdicts as by rows, and clear words about what is compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import driftbell
from driftbell.drift.column_bins import column_bins, compare_counts, count_column_on
from driftbell.drift.compare import prepare
from driftbell.errors import ConfigError, DriftbellError
from driftbell.tabular.typed_column import TypedColumn


def table(rows: Any, seed: Any, shift: Any = 0.0, cities: Any = ("Rome", "Oslo", "Bern")) -> Any:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "same": rng.normal(size=rows),
            "moved": rng.normal(shift, 1, rows),
            "price": rng.integers(0, 40, rows) / 10,
            "city": rng.choice(cities, rows),
        }
    )


@pytest.fixture
def files(tmp_path: Any) -> Any:
    def write(name: Any, frame: Any) -> Any:
        path = tmp_path / name
        frame.write_parquet(path)
        return str(path)

    return write


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (np.arange(5), "256 bins of the reference: the Kolmogorov–Smirnov distances are exact."),
        (
            np.arange(900) / 7,
            "256 bins of the reference: a Kolmogorov–Smirnov distance may be larger by up to 0.00",
        ),
    ],
)
def test_the_error_of_distances_is_named(files: Any, values: Any, text: str) -> None:
    past, now = (
        files(name, pl.DataFrame({"x": np.random.default_rng(seed).choice(values, 3000)}))
        for seed, name in enumerate(("a.parquet", "b.parquet"))
    )
    assert text in driftbell.check(past, now, exact_rows=1000).sentence


@pytest.mark.parametrize(("shift", "drifted"), [(0.0, ()), (0.4, ("moved",))])
@pytest.mark.parametrize("sizes", [(900, 6000), (6000, 900), (6000, 7000)])
def test_verdicts_are_those_of_the_rows(files: Any, shift: Any, drifted: Any, sizes: Any) -> None:
    past, now = files("a.parquet", table(sizes[0], 0)), files("b.parquet", table(sizes[1], 1, shift))
    exact, binned = driftbell.check(past, now), driftbell.check(past, now, exact_rows=1000)
    assert exact.drifted_columns == binned.drifted_columns == drifted
    assert "binned" not in exact.detected["current"]
    assert binned.detected["current"]["binned"] == 256
    assert binned.rows == sizes
    assert binned.sentence.startswith(exact.sentence)
    assert (
        "Numbers are compared on 256 bins of the reference: a Kolmogorov–Smirnov distance may be larger"
        in binned.sentence
    )
    error = binned.detected["current"]["largest_error"]
    for a, b in zip(exact.columns, binned.columns, strict=True):
        old, new = ({r.statistic: r.value for r in c.comparison.results} for c in (a, b))
        assert a.comparison.null_shares == b.comparison.null_shares
        if sizes[0] == 900:
            assert a.comparison.histogram == b.comparison.histogram
            assert old["PSI"] == new["PSI"]
        for name in ("error of Kolmogorov–Smirnov",):
            assert new.get(name, 0.0) <= error + 1e-6


def test_rows_at_the_limit_are_compared_exactly(files: Any) -> None:
    past, now = files("a.parquet", table(1000, 0)), files("b.parquet", table(1000, 1))
    assert driftbell.check(past, now, exact_rows=1000).to_json() == driftbell.check(past, now).to_json()


def test_a_table_in_memory_beside_a_large_file(files: Any) -> None:
    now = files("b.parquet", table(5000, 1, 0.5))
    past = table(800, 0).to_pandas()
    assert driftbell.check(past, now, exact_rows=1000).drifted_columns == ("moved",)
    assert driftbell.check(now, past, exact_rows=1000).drifted_columns == ("moved",)


def test_single_precision_beside_double(files: Any) -> None:
    past = files("a.parquet", table(900, 0))
    single = table(5000, 1).with_columns(pl.col("price", "same", "moved").cast(pl.Float32))
    for now in (single, single.with_columns(pl.col("price").cast(pl.Float64))):
        result = driftbell.check(past, files("b.parquet", now), exact_rows=1000)
        assert result.drifted_columns == ()
        price = next(c for c in result.columns if c.column == "price").comparison
        distance = next(r.value for r in price.results if r.statistic == "Kolmogorov–Smirnov")
        assert distance < 0.05


def test_missing_additional_and_unreadable_columns(files: Any) -> None:
    past = files("a.parquet", table(900, 0))
    words = pl.Series(["n/k" if i % 4 == 0 else str(i % 7) for i in range(5000)])
    frame = table(5000, 1).drop("moved").with_columns(words.alias("price"), pl.lit(1).alias("extra"))
    result = driftbell.check(past, files("b.parquet", frame), exact_rows=1000)
    by_name = {c.column: c for c in result.columns}
    assert by_name["moved"].reason == "Not compared: the current data has no such column."
    assert by_name["extra"].reason == "Not compared: the reference has no such column."
    assert by_name["price"].comparison.unreadable == (0, 1250)
    assert "1,250 of 5,000 cells such as 'n/k' are not numbers" in by_name["price"].reason


def test_many_categories_and_many_columns(files: Any) -> None:
    past = table(900, 0).with_columns(pl.Series("city", [f"c{i % 50}" for i in range(900)]))
    now = table(30_000, 1).with_columns(pl.Series("city", [f"new {i}" for i in range(30_000)]))
    wide = {f"x{i}": np.arange(1500.0) + 0.5 for i in range(300)}
    result = driftbell.check(files("a.parquet", past), files("b.parquet", now), exact_rows=1000)
    city = next(c for c in result.columns if c.column == "city")
    assert city.drifted
    assert city.comparison.new_share == 1.0
    path = files("wide.parquet", pl.DataFrame(wide))
    assert driftbell.check(path, path, exact_rows=1000).verdict.value == "ok"


def test_limits_options_and_roles(files: Any) -> None:
    past, now = files("a.parquet", table(900, 0)), files("b.parquet", table(5000, 1))
    result = driftbell.check(
        past,
        now,
        exact_rows=1000,
        exclude=["same"],
        columns={"price": "categorical"},
        limits={"moved.max": 1.0},
        prediction="city",
    )
    assert [c.column for c in result.columns] == ["moved", "price", "city"]
    assert [r.column for r in result.exceeded_limits] == ["moved"]
    assert result.columns[1].comparison.kind.value == "categorical"
    assert result.columns[2].comparison.role == "prediction"
    with pytest.raises(ConfigError, match="no column"):
        driftbell.check(past, now, exact_rows=1000, exclude=["nothing"])


def labelled(rows: Any, seed: Any, wrong: Any, **more: Any) -> Any:
    """Return a table with answers of a model that are wrong in a share of the rows."""
    rng = np.random.default_rng(seed)
    frame = table(rows, seed, **more)
    label = np.where(rng.random(rows) < 0.3, "yes", "no")
    other = np.where(label == "yes", "no", "yes")
    prediction = np.where(rng.random(rows) < wrong, other, label)
    probability = np.where(prediction == "yes", 0.6, 0.1) + rng.random(rows) * 0.3
    labels = pl.Series(label).set(pl.Series(rng.random(rows) < 0.1), None)
    return frame.with_columns(
        pl.Series("prediction", prediction), pl.Series("p", probability), labels.alias("label")
    )


@pytest.mark.parametrize("sizes", [(900, 6000), (6000, 900), (6000, 7000)])
@pytest.mark.parametrize("form", ["parquet", "csv", "memory"])
@pytest.mark.parametrize("probabilities", [{}, {"yes": "p"}])
def test_labels_are_compared_by_their_rows(tmp_path: Any, form: Any, sizes: Any, probabilities: Any) -> None:
    past, now = labelled(sizes[0], 0, 0.1), labelled(sizes[1], 1, 0.2, shift=0.4)
    files = []
    for name, frame in (("a", past), ("b", now)):
        path = tmp_path / f"{name}.{form}"
        frame.write_csv(path) if form == "csv" else frame.write_parquet(path)
        files.append(frame if form == "memory" and len(frame) == 900 else str(path))
    roles: dict[str, Any] = {"prediction": "prediction", "label": "label", "probabilities": probabilities}
    exact, binned = (driftbell.check(*files, exact_rows=n, **roles) for n in (10**6, 1000))
    assert binned.detected["current"]["binned"] == 256
    assert binned.verdict == exact.verdict == "alarm"
    assert binned.performance == exact.performance
    assert binned.judgement.degradation == exact.judgement.degradation
    assert binned.drifted_columns == exact.drifted_columns
    assert [c.column for c in binned.columns] == [c.column for c in exact.columns]
    for a, b in zip(exact.columns, binned.columns, strict=True):
        assert a.comparison.role == b.comparison.role
        assert a.comparison.null_shares == b.comparison.null_shares
        if a.column in ("prediction", "label", *probabilities.values()):
            assert a.comparison == b.comparison


def test_labels_of_a_regression_and_of_one_table(files: Any) -> None:
    def answers(rows: Any, seed: Any, noise: Any) -> Any:
        frame = table(rows, seed)
        label = frame["same"] * 10
        error = np.random.default_rng(seed).normal(0, noise, rows)
        return frame.with_columns((label + error).alias("value"), label.alias("label"))

    past, now = files("a.parquet", answers(3000, 0, 1.0)), files("b.parquet", answers(4000, 1, 2.0))
    exact, binned = (
        driftbell.check(past, now, exact_rows=n, prediction="value", label="label") for n in (10**6, 1000)
    )
    assert binned.performance == exact.performance
    assert binned.verdict == exact.verdict == "alarm"
    unlabelled = files("c.parquet", answers(4000, 1, 2.0).drop("label"))
    exact, binned = (
        driftbell.check(past, unlabelled, exact_rows=n, prediction="value", label="label")
        for n in (10**6, 1000)
    )
    assert binned.performance == exact.performance
    assert [(c.column, c.reason) for c in binned.columns if c.column == "label"] == [
        (c.column, c.reason) for c in exact.columns if c.column == "label"
    ]


@pytest.mark.parametrize("column", ["prediction", "p", "label"])
def test_a_missing_column_of_the_model_is_named(files: Any, column: Any) -> None:
    whole, part = labelled(3000, 0, 0.1), labelled(3000, 0, 0.1).drop(column)
    roles: dict[str, Any] = {"prediction": "prediction", "label": "label", "probabilities": {"yes": "p"}}
    for past, now in ((part, whole), (whole, part), (part, part)):
        paths = files("a.parquet", past), files("b.parquet", now)
        messages = []
        for rows in (10**6, 1000):
            try:
                driftbell.check(*paths, exact_rows=rows, **roles)
                messages.append("")
            except DriftbellError as error:
                messages.append(str(error))
        assert messages[0] == messages[1]


def test_documents_of_a_large_check(files: Any) -> None:
    past, now = files("a.parquet", table(900, 0)), files("b.parquet", table(5000, 1, 0.5))
    result = driftbell.check(past, now, exact_rows=1000)
    document = json.loads(result.to_json())
    assert document["detected"]["current"]["binned"] == 256
    assert "256 bins" in result.to_markdown()
    assert "256 bins" in result.to_html()
    assert result.to_frame().height == 4


@pytest.mark.parametrize("kind", [pl.Int64, pl.String])
@pytest.mark.parametrize("share", [0.0, 0.2])
def test_a_frozen_identifier_is_found_by_the_groups_of_its_values(
    files: Any, kind: Any, share: float
) -> None:
    past = table(4000, 0).select("moved", id=pl.int_range(5, 4005).cast(kind))
    frozen = pl.int_range(4000) < 4000 * share
    now = past.with_columns(id=pl.when(frozen).then(pl.lit(7).cast(kind)).otherwise("id"))
    past = past.vstack(table(1, 1).select("moved", id=pl.lit(9999).cast(kind)))
    first, second = files("a.parquet", past), files("b.parquet", now)
    for exact_rows, words in (
        (5000, "frozen at 7 in 800 of 4,000 rows"),
        (1000, "frozen at one or very few"),
    ):
        (result,) = (
            c for c in driftbell.check(first, second, exact_rows=exact_rows).columns if c.column == "id"
        )
        assert result.drifted == bool(share)
        assert (words in result.reason) == bool(share)
        if not share:
            assert result.reason.startswith("Not compared: identifier: ")
            assert "frequent" not in result.reason


@pytest.mark.parametrize("exact_rows", [20_000, 1000])
@pytest.mark.parametrize("swapped", [False, True])
def test_all_numbers_of_a_few_rows_may_be_beyond_the_others(
    files: Any, exact_rows: int, swapped: bool
) -> None:
    """The check ended with "math domain error"."""
    past = files("a.parquet", pl.DataFrame({"x": np.random.default_rng(0).normal(size=12_000)}))
    now = files("b.parquet", pl.DataFrame({"x": np.random.default_rng(1).normal(100, 1, 200)}))
    sides = (now, past) if swapped else (past, now)
    result = driftbell.check(*sides, exact_rows=exact_rows)
    assert result.drifted_columns == ("x",)
    assert result.columns[0].comparison.effects[0].size == 1.0


@pytest.mark.parametrize("rows", [10, 12, 20, 50, 80, 120])
def test_identifiers_of_a_few_rows_are_not_frozen(files: Any, rows: int) -> None:
    """Two of twelve different identifiers share one of 256 groups in one of four files."""
    past = files("a.parquet", table(4000, 0).select("moved", id=pl.int_range(4000)))
    for first in range(0, 4000, 400):
        now = table(rows, 1).select("moved", id=pl.int_range(first, first + rows))
        result = driftbell.check(past, files("b.parquet", now), exact_rows=1000)
        assert "id" not in result.drifted_columns


@pytest.mark.parametrize("sizes", [(900, 4000), (4000, 900)])
@pytest.mark.parametrize("cells", [[1.5, None], ["a", "NA"], [True, None]])
@pytest.mark.parametrize("nested", [[[1, 2]], [{"a": 1}], [b"x"]])
def test_a_column_of_lists_that_has_other_cells_now_is_drift(
    files: Any, nested: Any, cells: Any, sizes: tuple[int, int]
) -> None:
    """Half of the other cells are null, and the rest are no lists."""
    past, now = (table(size, i).select("moved") for i, size in enumerate(sizes))
    first = files("a.parquet", past.with_columns(y=pl.Series(nested * sizes[0])))
    second = files("b.parquet", now.with_columns(y=pl.Series(cells * (sizes[1] // 2))))
    for exact_rows in (5000, 1000):
        result = driftbell.check(first, second, exact_rows=exact_rows)
        assert result.drifted_columns == ("y",)
        comparison = result.columns[1].comparison
        assert comparison.unreadable == (0, sizes[1] // 2)
        assert comparison.null_shares == (0.0, 0.5)


@pytest.mark.parametrize("exact_rows", [5000, 1000])
def test_lists_in_a_column_of_identifiers_are_unreadable(files: Any, exact_rows: int) -> None:
    past = files("a.parquet", pl.DataFrame({"id": [f"id {i}" for i in range(2000)], "x": range(2000)}))
    now = files("b.parquet", pl.DataFrame({"id": [["id"]] * 2000, "x": range(2000)}))
    result = driftbell.check(past, now, exact_rows=exact_rows)
    assert result.drifted_columns == ("id",)
    assert result.columns[0].comparison.unreadable == (0, 2000)


@pytest.mark.parametrize("sign", [1, -1])
def test_infinite_numbers_are_no_ties_of_finite_ones(files: Any, sign: int) -> None:
    """Numbers beyond the finite ones of the reference took the place of its infinite ones unnoticed."""
    rng = np.random.default_rng(0)
    common, rare = rng.normal(size=(2, 3000)), rng.random((2, 3000)) < 0.3
    infinite = pl.DataFrame({"x": sign * np.where(rare[0], np.inf, common[0])})
    large = pl.DataFrame({"x": sign * np.where(rare[1], 1e6, common[1].clip(-3, 3))})
    again = pl.DataFrame({"x": sign * np.where(rare[1], np.inf, common[1])})
    first, second, third = (files(f"{i}.parquet", f) for i, f in enumerate((infinite, large, again)))
    for exact_rows in (5000, 1000):
        for sides in ((first, second), (second, first)):
            assert driftbell.check(*sides, exact_rows=exact_rows).drifted_columns == ("x",)
        same = driftbell.check(first, third, exact_rows=exact_rows)
        assert same.drifted_columns == ()
        assert same.detected["current"].get("largest_error", 0.0) < 0.01
    reason = driftbell.check(first, second, exact_rows=1000).columns[0].reason
    assert (
        "rows below infinity: 69.6% → 100.0%" if sign == 1 else "rows at -infinity: 30.4% → 0.0%"
    ) in reason


@pytest.mark.filterwarnings("error")
def test_numbers_near_the_largest_ones_write_no_warning(files: Any) -> None:
    cells = np.random.default_rng(0).choice([-1.7e308, 1.0, 1.7e308], (2, 3000))
    past, now = (files(f"{i}.parquet", pl.DataFrame({"x": side})) for i, side in enumerate(cells))
    for exact_rows in (5000, 1000):
        assert driftbell.check(past, now, exact_rows=exact_rows).drifted_columns == ()


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
@pytest.mark.parametrize("cells", [["a"] * 300, [1.5, 2.5] * 150])
def test_a_column_without_values_in_the_sample_is_read_by_its_first_values(
    tmp_path: Path, suffix: str, cells: list[Any]
) -> None:
    """Values of a few rows beside each other are between the runs of rows of the sample."""
    paths = []
    for i, values in enumerate((cells, cells, [cells[0]] * 150 + [99] * 150)):
        column = pl.Series([None] * 300 + [str(v) for v in values] + [None] * 9400, dtype=pl.String)
        frame = table(10_000, i).select("moved").with_columns(rare=column)
        paths.append(str(tmp_path / f"{i}.{suffix}"))
        frame.write_parquet(paths[-1]) if suffix == "parquet" else frame.write_csv(paths[-1])
    for now, drifted in ((paths[1], False), (paths[2], True)):
        result = driftbell.check(paths[0], now, exact_rows=1000, smallest_effect=0.0)
        assert result.columns[1].compared
        assert result.columns[1].comparison.null_shares == (0.97, 0.97)
        assert result.columns[1].drifted == drifted


def test_values_that_no_sample_has_are_counted_in_the_reason() -> None:
    """Spark's sample is random, and may lack values that are very rare."""
    sampled = prepare({"rare": TypedColumn(None, np.full(100, None, dtype=object))})
    on = column_bins(sampled.columns[0])
    sides = [count_column_on(TypedColumn(None, np.array([None] * 90 + ["a"] * 10, dtype=object)), on)] * 2
    (comparison,) = compare_counts(sampled.columns, {"rare": on}, {"rare": sides[0]}, {"rare": sides[1]})
    assert comparison.note == "10 of 100 cells of the reference have a value, and none of its sample"


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
@pytest.mark.parametrize(("side", "words"), [(0, "in the reference"), (1, "in current")])
def test_what_is_not_certain_about_dates_is_said_of_the_side_that_has_it(
    tmp_path: Path, suffix: str, side: int, words: str
) -> None:
    """Some days of one side are no dates, so the day may be the other number."""
    paths = []
    for i in range(2):
        days = [f"{day % (31 if i == side else 28) + 1:02}/{day % 2 + 1:02}/2026" for day in range(2000)]
        paths.append(str(tmp_path / f"{i}.{suffix}"))
        frame = table(2000, i).select("moved").with_columns(day=pl.Series(days))
        frame.write_parquet(paths[-1]) if suffix == "parquet" else frame.write_csv(paths[-1])
    for exact_rows in (5000, 1000):
        reason = driftbell.check(*paths, exact_rows=exact_rows).columns[1].reason
        assert f"{words}, dates such as 03/04/2026 are read day first" in reason


@pytest.mark.parametrize("exact_rows", [1000, 10_000])
def test_a_limit_that_is_barely_exceeded_has_the_digits_to_see_it(exact_rows: int) -> None:
    past = np.random.default_rng(0).uniform(0.1, 0.9999983, 3000)
    past[0], now = 0.9999983, past.copy()
    now[1] = 0.9999991
    (column,) = driftbell.check({"x": past}, {"x": now}, exact_rows=exact_rows).columns
    assert "1 of 3,000 rows above the reference's maximum 0.999998" in column.reason
