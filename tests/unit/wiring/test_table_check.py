"""Two tables are checked in Python, in a notebook and in a test."""

from __future__ import annotations

import datetime as dt
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from tests.command_line import driftbell as command

import driftbell
from driftbell.errors import ConfigError, InputError
from driftbell.records import Verdict

BEFORE: dict[str, Any] = {
    "age": [30, 40, 50] * 50,
    "plan": ["basic", "pro", None] * 50,
    "id": [f"u{i * 7919 % 1000}x" for i in range(150)],
}
NOW = BEFORE | {"age": [60, 70, 80] * 50}


def test_a_result_has_the_verdict_and_a_row_for_each_column() -> None:
    result = driftbell.check(BEFORE, NOW)
    assert (result.verdict, result.drifted_columns, result.rows) == (Verdict.WARNING, ("age",), (150, 150))
    assert str(result) == f"WARNING  {result.sentence}"
    frame = result.to_frame()
    assert frame["verdict"].to_list() == ["warning", "ok", "unknown"]
    assert frame["compared"].to_list() == [True, True, False]
    assert frame["null_share_current"].to_list() == pytest.approx([0, 1 / 3, 0])
    assert frame["size"][0] == 1.0


def test_a_frame_is_of_the_library_of_the_reference_or_of_the_named_one() -> None:
    assert isinstance(driftbell.check(pl.DataFrame(BEFORE), NOW).to_frame(), pl.DataFrame)
    result = driftbell.check(pd.DataFrame(BEFORE), NOW)
    assert result.to_frame()["column"].tolist() == ["age", "plan", "id"]
    assert isinstance(result.to_frame("polars"), pl.DataFrame)
    with pytest.raises(ValueError, match="polars, pandas, got 'dask'"):
        result.to_frame("dask")


def test_frames_of_a_check_without_columns_have_the_same_columns() -> None:
    empty = driftbell.check({}, {})
    assert empty.verdict is Verdict.UNKNOWN
    assert empty.to_frame().schema == driftbell.check(BEFORE, NOW).to_frame().schema
    assert list(empty.to_frame("pandas").columns) == empty.to_frame().columns


def test_options_set_kinds_and_select_columns() -> None:
    zips = {"zip": [10115, 80331, 50667] * 50, "row_1": range(150)}
    result = driftbell.check(zips, zips, columns={"zip": "categorical"}, exclude=["row_*"])
    assert [(c.column, c.comparison.kind) for c in result.columns] == [("zip", "categorical")]
    words = driftbell.check({"x": ["1", "2", "-999"] * 50}, {"x": ["1", "2", "-999"] * 50}, nulls=["-999"])
    assert words.to_frame()["null_share_reference"].to_list() == pytest.approx([1 / 3])
    with pytest.raises(ConfigError, match="exclude: the table has no column 'zap': did you mean 'zip'"):
        driftbell.check(zips, zips, exclude=["zap"])


@pytest.mark.parametrize("exclude", ["zip", ["zip"], ("z*",), {"zip"}])
def test_one_name_is_a_list_of_one(exclude: Any) -> None:
    table = {"zip": [1, 2, 3, 4] * 50, "x": [9.0, 1.0, 2.0, 3.0] * 50}
    result = driftbell.check(table, table, exclude=exclude, nulls="-999", keep_null_words="x")
    assert [c.column for c in result.columns] == ["x"]
    assert result.columns[0].comparison.null_shares == (0, 0)
    driftbell.check(table, table).assert_stable(ignore="zip")
    numbers: Any = [9, -1.5]
    assert driftbell.check(table, table, nulls=numbers).columns[1].comparison.null_shares == (0.25, 0.25)
    assert driftbell.profile(table, exclude="zip").columns[0].name == "x"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exclude": 5}, "exclude must be a list of names of columns, got 5"),
        ({"include": [("x", "y")]}, "include must be a list of names of columns, got"),
        ({"nulls": [None]}, r"nulls must be a list of words, got \[None\]"),
        ({"columns": ["zip"]}, "columns must be a mapping such as {'zip': 'categorical'}, got"),
        ({"limits": ["x.max"]}, "limits must be a mapping such as {'age.max': 120}, got"),
        ({"prediction": "x", "probabilities": ["p"]}, "probabilities must be a mapping such as"),
        ({"prediction": [1, 2]}, "prediction must be the name of a column, got a list"),
        ({"prediction": "x", "label": pd.Series([1])}, "label must be the name of a column, got a Series"),
    ],
)
def test_an_option_of_another_type_is_named(options: Any, message: str) -> None:
    table = {"zip": [1, 2, 3, 4] * 50, "x": [9.0, 1.0, 2.0, 3.0] * 50}
    with pytest.raises(ConfigError, match=message):
        driftbell.check(table, table, **options)
    given = {name: options[name] for name in options if name in ("prediction", "label", "probabilities")}
    if given:
        with pytest.raises(ConfigError, match=message):
            driftbell.backtest(table, table, **given)


def test_null_words_in_texts_are_counted_and_can_be_kept(tmp_path: Path) -> None:
    before = tmp_path / "before.csv"
    before.write_text("region,plan,x\n" + "NA,a,1\nEU,b,NA\n ,None,2\n" * 50)
    now = {"region": ["NA", "EU", "EU"] * 40, "plan": ["a", "b", "?"] * 40, "x": ["1", "NA", "2"] * 40}
    region, plan, x = driftbell.check(before, now).columns
    assert region.reason.endswith(
        "read as missing: 50 cells 'NA' in the reference and 40 cells 'NA' in current "
        "(--keep-null-words 'region' reads them as texts)."
    )
    assert "50 cells 'None' in the reference and 40 cells '?' in current" in plan.reason
    assert "read as missing" not in x.reason
    assert region.comparison.null_shares == pytest.approx((2 / 3, 1 / 3))

    kept = driftbell.check(before, now, keep_null_words=["reg*"]).columns
    assert kept[0].comparison.null_shares == pytest.approx((1 / 3, 0))  # blank cells stay null
    assert ["read as missing" in c.reason for c in kept] == [False, True, False]
    numbers = driftbell.check({"x": ["1", "nan"] * 50}, {"x": ["1", "nan"] * 50}, keep_null_words=["x"])
    assert numbers.columns[0].comparison.kind == "categorical"
    with pytest.raises(ConfigError, match="keep-null-words: the table has no column 'regio'"):
        driftbell.check(before, now, keep_null_words=["regio"])


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_null_words_of_a_large_table_are_those_of_all_rows(tmp_path: Path, suffix: str) -> None:
    import polars as pl

    paths = [tmp_path / f"{name}.{suffix}" for name in ("before", "now")]
    for path, words in zip(paths, (["NA", "EU", " "], ["n/a ", "EU", "US"]), strict=True):
        texts = {"region": words * 1000, "text": ["a b c d", *(f"words {i} of a text" for i in range(2999))]}
        table = pl.DataFrame(texts)
        table.write_csv(path) if suffix == "csv" else table.write_parquet(path)
    large = driftbell.check(*paths, exact_rows=500).columns
    small = driftbell.check(*paths).columns
    for columns in (large, small):
        assert "read as missing: 1,000 cells 'NA' in the reference and 1,000 cells 'n/a' in current" in (
            columns[0].reason
        )
    assert large[0].comparison.null_shares == small[0].comparison.null_shares == (2 / 3, 1 / 3)


def test_the_reference_sets_the_order_of_day_and_month() -> None:
    before = {"day": [f"{1 + i % 28:02}/{1 + i % 2:02}/2026" for i in range(150)]}
    now = {"day": [f"{1 + i % 12:02}/02/2026" for i in range(150)]}
    result = driftbell.check(before, now)
    assert [c.comparison.kind for c in result.columns] == ["datetime"]
    assert result.columns[0].comparison.unreadable == (0, 0)


@pytest.mark.parametrize("exact_rows", [200_000, 50])
def test_dates_in_another_format_are_compared_and_named(exact_rows: int, tmp_path: Path) -> None:
    days = [dt.date(2026, 1, 1) + dt.timedelta(days=i * 37 % 200) for i in range(600)]
    for name, form in (("iso", "%Y-%m-%d"), ("german", "%d.%m.%Y")):
        text = "\n".join(day.strftime(form) for day in days)
        (tmp_path / f"{name}.csv").write_text(f"day\n{text}\n")
    iso, german = tmp_path / "iso.csv", tmp_path / "german.csv"
    (column,) = driftbell.check(iso, german, exact_rows=exact_rows).columns
    assert (column.drifted, column.comparison.kind.value) == (False, "datetime")
    words = (
        "dates such as '2026-01-01' in the reference and '01.01.2026' in current, compared after conversion"
    )
    assert words in column.reason
    (same,) = driftbell.check(iso, iso, exact_rows=exact_rows).columns
    assert "dates such as" not in same.reason
    driftbell.profile(iso).save(tmp_path / "iso.json")
    (column,) = driftbell.check(tmp_path / "iso.json", german, exact_rows=exact_rows).columns
    assert words.replace("2026-01-01", "0000-00-00") in column.reason
    (same,) = driftbell.check(tmp_path / "iso.json", iso, exact_rows=exact_rows).columns
    assert "dates such as" not in same.reason


def test_dates_that_cannot_be_read_are_named() -> None:
    days = [f"2024-{1 + i % 12:02}-{1 + i % 28:02}" for i in range(200)]
    other = [f"{d[8:]}/{d[5:7]}/{d[:4]}" if i % 2 else d for i, d in enumerate(days)]
    mixed = driftbell.check({"when": other}, {"when": other}).columns[0]
    assert mixed.comparison.kind in ("text", "categorical")
    assert (
        "in the reference and in current, dates in several formats such as '2024-01-01' and '02/02/2024' are "
        "compared as texts: write them in one format" in mixed.reason
    )
    unclear = [f"{1 + i % 12:02}/{1 + (i * 7) % 12:02}/2024" for i in range(200)]
    assert "of which either number may be the day are compared as texts" in (
        driftbell.check({"when": unclear}, {"when": unclear}).columns[0].reason
    )
    first = [f"{1 + i % 28:02}/{1 + i % 12:02}/2024" for i in range(200)]
    months = [f"{1 + i % 12:02}/{1 + i % 28:02}/2024" for i in range(200)]
    swapped = driftbell.check({"when": first}, {"when": months}).columns[0].reason
    assert "in current, dates such as 03/04/2026 are read day first" in swapped
    assert "such as" not in driftbell.check({"when": days}, {"when": days}).columns[0].reason


def test_settings_of_the_decision() -> None:
    assert driftbell.check(BEFORE, NOW, smallest_effect={"age": 1.0}).verdict is Verdict.OK
    assert driftbell.check(BEFORE, NOW, minimum_rows=151).verdict is Verdict.UNKNOWN
    assert driftbell.check(BEFORE, NOW, false_discovery_rate=1e-99).verdict is Verdict.OK


def test_a_smallest_effect_of_an_unknown_column_is_refused() -> None:
    with pytest.raises(
        ConfigError, match="smallest_effect: the reference has no column 'agee': did you mean"
    ):
        driftbell.check(BEFORE, NOW, smallest_effect={"agee": 0.1})


def test_assert_stable_names_each_drifted_column() -> None:
    driftbell.check(BEFORE, BEFORE).assert_stable()
    result = driftbell.check(BEFORE, NOW)
    result.assert_stable("plan")
    result.assert_stable(ignore=["age"])
    with pytest.raises(AssertionError) as error:
        result.assert_stable()
    sentence, *lines = str(error.value).splitlines()
    assert sentence == result.sentence
    assert len(lines) == 1
    assert lines[0].startswith("  age: Drift: median 40 → 70")


@pytest.mark.parametrize(
    ("now", "names", "words"),
    [
        ({"age": NOW["age"][:3]}, (), "Cannot judge: needs 10, has 3 rows"),
        ({"age": BEFORE["age"]}, (), "plan: Not compared: the current data has no such column"),
        (BEFORE, ("id",), "id: Not compared: identifier"),
        (BEFORE | {"age": ["?"] * 150}, ("age",), "age: Drift: no readable value in current"),
        (BEFORE, ("plan", "age", "id"), "id: Not compared"),
    ],
)
def test_what_was_not_compared_is_not_stable(now: Any, names: tuple[str, ...], words: str) -> None:
    with pytest.raises(AssertionError, match=re.escape(words)):
        driftbell.check(BEFORE, now).assert_stable(*names)


def test_assert_stable_refuses_a_name_that_is_no_column() -> None:
    result = driftbell.check(BEFORE, BEFORE)
    with pytest.raises(ConfigError, match="no column 'agee' was checked: did you mean 'age'"):
        result.assert_stable("agee")
    with pytest.raises(ConfigError, match="no column 'x' was checked: the columns are age, plan and id"):
        result.assert_stable(ignore=["x"])


def test_files_are_checked_as_the_command_does(tmp_path: Path) -> None:
    for name, table in (("a.csv", BEFORE), ("b.csv", NOW)):
        pl.DataFrame(table).write_csv(tmp_path / name)
    result = driftbell.check(tmp_path / "a.csv", str(tmp_path / "b.csv"))
    assert result.names == (str(tmp_path / "a.csv"), str(tmp_path / "b.csv"))
    assert result.to_json() == command("check", "a.csv", "b.csv", "--json", cwd=tmp_path).stdout.rstrip("\n")
    assert json.loads(result.to_json())["detected"]["current"]["separator"] == "comma"


def test_errors_name_the_table(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read the current table: .*length"):
        driftbell.check(BEFORE, {"age": [1, 2], "plan": ["a"]})
    with pytest.raises(InputError, match="cannot read the reference table"):
        driftbell.check(None, BEFORE)
    with pytest.raises(ConfigError, match=r"missing\.csv"):
        driftbell.check(tmp_path / "missing.csv", BEFORE)


def test_a_notebook_shows_a_table_without_the_markup_of_the_data() -> None:
    name = "<script>alert(1)</script>"
    html = driftbell.check({name: ["<b>"] * 150}, {name: ["<i>"] * 150})._repr_html_()
    assert "<b>! warning</b> Drift in &lt;script&gt;" in html
    assert "<script" not in html
    assert "<i>" not in html
    wide = {f"x{i}": [1, 2, 3] * 5 for i in range(25)}
    assert "<p>and 5 more columns</p>" in driftbell.check(wide, wide)._repr_html_()


def test_json_has_no_number_that_is_not_finite() -> None:
    infinite = {"x": [1.0, 2.0, float("inf")] * 50}
    assert json.loads(driftbell.check(infinite, NOW | infinite).to_json(), parse_constant=pytest.fail)


def test_a_column_of_nulls_on_both_sides_is_not_compared_and_named() -> None:
    tables = [{**BEFORE, "none": [None] * 150, "blank": ["", "NA", None] * 50} for _ in range(2)]
    result = driftbell.check(*tables)
    assert result.verdict is Verdict.OK
    assert "compared columns of the 150 rows look like the reference." in result.sentence
    assert "3 columns not compared: id (identifier: " in result.sentence
    assert "none and blank (every cell is null on both sides)." in result.sentence
    verdicts = {c.column: (c.verdict, c.compared, c.comparison.null_shares) for c in result.columns}
    assert verdicts["none"] == verdicts["blank"] == (Verdict.UNKNOWN, False, (1.0, 1.0))
    result.assert_stable()
    with pytest.raises(AssertionError, match="none: Not compared: every cell is null on both sides"):
        result.assert_stable("none")


@pytest.mark.parametrize("now", [{"none": [None] * 150}, {"none": ["x"] * 150}])
def test_only_columns_of_nulls_are_never_ok(now: dict[str, Any]) -> None:
    verdict = driftbell.check({"none": [None] * 150}, now).verdict
    assert verdict is (Verdict.UNKNOWN if now["none"][0] is None else Verdict.WARNING)


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        ("größe ", "spaces at the ends"),
        ("GRÖßE", "upper and lower case"),
        ("gro\u0308\u00dfe", "how Unicode writes accents (NFC and NFD)"),
    ],
)
def test_names_that_hardly_differ_are_named_together(other: str, difference: str) -> None:
    before, now = {"größe": [1.0, 2.0] * 50}, {other: [1.0, 2.0] * 50}
    for reference in before, driftbell.profile(before):
        old, new = driftbell.check(reference, now).columns
        assert old.reason == (
            f"Not compared: the current data has no such column, but '{other}', which differs only in "
            f"{difference}: rename one of both."
        )
        assert "the reference has no such column, but 'größe', which" in new.reason
        sentence = driftbell.check(reference, now).sentence
        assert f"'{other}', which differs only in {difference}: rename one of both)" in sentence


def test_an_additional_column_is_a_note_everywhere() -> None:
    result = driftbell.check(BEFORE, {**BEFORE, "more": [1] * 150})
    assert (result.verdict, str(result)[:2]) == (Verdict.OK, "OK")
    assert result.sentence.endswith("Not in the reference: more.")
    result.assert_stable()
    page, text = result.to_html(), result.to_markdown()
    assert page.count('<b class="badge unknown">not compared</b>') == 4
    assert "</span> unknown</b>" not in page
    assert "### ✓ driftbell check: ok" in text


def test_a_smallest_loss_may_be_a_share_of_the_error() -> None:
    table = {
        "y": [float(i % 37) for i in range(400)],
        "p": [float(i % 37) + 2 * (-1) ** i for i in range(400)],
    }
    options: Any = {"prediction": "p", "label": "y", "task": "regression"}
    for share, expected in (("25%", 0.5), (None, 0.2), (0.3, 0.3)):
        performance = driftbell.check(table, table, smallest_loss=share, **options).performance
        assert performance
        assert performance.smallest_loss == pytest.approx(expected)
