from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import degradations

from driftbell.drift.compare import compare
from driftbell.drift.judge import judge
from driftbell.publish.charts import CHARACTER_WIDTH, histogram_svg
from driftbell.publish.html_report import MAX_BYTES, HtmlReport, _format_with_noise
from driftbell.publish.table_views import listed_columns
from driftbell.records import (
    Check,
    CheckKind,
    Degradation,
    Evidence,
    Histogram,
    Reference,
    Result,
    ResultKind,
    Suspect,
    TargetDrift,
    Verdict,
)
from driftbell.server.pages import CARD_HEIGHT, CARD_WIDTH
from driftbell.stats import psi_noise
from driftbell.tabular.columns import as_column

EVIL = "</script><script>notification(1)</script><img src=x onerror=notification(2)>"
ROWS = 80


class Page(HTMLParser):
    """Parsed tags, text and attribute values of a page."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.tags: list[Any] = []
        self.text = ""
        self.values: list[Any] = []
        self.feed(content.decode("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attrs for name, attrs in self.tags if name == tag]


def check_of(
    reference: dict[str, np.ndarray], window: dict[str, np.ndarray], **changes: Any
) -> tuple[Check, Reference]:
    roles = dict.fromkeys(reference, "feature")
    known = Reference(reference, roles, "5f5f5f5f5f5f")
    judgement = judge(compare(reference, window, roles=roles), rows=ROWS)
    fields = {"error": "", "model": "iris", **changes}
    check = Check(
        id="abcdef0123456789",
        time=datetime(2026, 1, 31, 12, 0, 5, tzinfo=UTC),
        kind=CheckKind.TRIGGERED,
        version="0123456789ab",
        reference=known.version,
        rows=ROWS,
        first=11,
        last=90,
        judgement=judgement,
        **fields,
    )
    return check, known


def page_of(
    reference: dict[str, np.ndarray],
    window: dict[str, np.ndarray],
    *,
    degradation: Degradation | None = None,
    **changes: Any,
) -> tuple[Check, Page]:
    check, known = check_of(reference, window, **changes)
    check = replace(check, judgement=replace(check.judgement, degradation=degradation))
    content = HtmlReport().write(check, known, window)
    assert len(content) <= MAX_BYTES
    return check, Page(content)


def numeric_table(
    columns: int, *, rows: int = 100, shifted: range | tuple[int, ...] = (), seed: int = 1
) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {f"x{i}": rng.normal(loc=3.0 * (i in shifted), size=rows) for i in range(columns)}


def test_the_page_states_the_verdict_and_its_data() -> None:
    check, page = page_of(numeric_table(3), numeric_table(3, rows=ROWS, shifted=(1,), seed=2))
    assert check.judgement.drifted_columns == ("x1",)
    for text in (
        check.judgement.sentence,
        "! warning",
        "2026-01-31 12:00:05 UTC",
        "iris, version 0123456789ab",
        "5f5f5f5f5f5f, 100 rows",
        "80 predictions, sequence numbers 11 to 90",
        "triggered",
        "What changed?",
        "1 of 3 compared columns drifted",
        "Benjamini–Hochberg",
    ):
        assert text in page.text
    assert page.all("html")[0]["lang"] == "en"


def test_the_page_shows_degradation_before_drift() -> None:
    _, page = page_of(numeric_table(2), numeric_table(2, rows=ROWS, seed=2), degradation=degradations.ALARM)
    for text in (
        degradations.ALARM.sentence,
        "2026-01-31 10:20 UTC (90 % interval: 09:50 to 10:35)",
        "4.2 points of accuracy (90 % interval: 1.8 to 6.6)",
        "95.3 %",
        "91.1 %",
        "90 % interval: 86.8 % to 95.1 %",
        "Realized (newest 120 labels)",
        "disagreement: petal length (cm)",
        "perhaps another unit (°C → °F)",
        "petal width (cm) above 1.7",
        "informative, cannot raise an alarm",
        "Label these 50 predictions",
        "id-0049",
    ):
        assert text in page.text
    assert page.text.index("Does the model perform worse?") < page.text.index("All columns")
    assert not any("style" in attrs for _, attrs in page.tags)
    assert all(th["scope"] in ("row", "col") for th in page.all("th"))


@pytest.mark.parametrize(
    ("degradation", "text"),
    [
        (None, "Not estimated"),
        (degradations.UNKNOWN, "? unknown"),
        (degradations.OK, "✓ ok"),
        (degradations.WARNING, "! warning"),
    ],
)
def test_not_estimated_and_unknown_differ_from_ok(degradation: Degradation | None, text: str) -> None:
    _, page = page_of(numeric_table(2), numeric_table(2, rows=ROWS, seed=2), degradation=degradation)
    block = page.text.split("Does the model perform worse?")[1].split("All columns")[0]
    assert text in block
    assert ("✓ ok" in block) == (degradation is degradations.OK)


@pytest.mark.parametrize("until", [None, degradations.NOON])
def test_target_drift_of_labels_of_suspected_rows_is_marked(until: datetime | None) -> None:
    check, known = check_of(numeric_table(2), numeric_table(2, rows=ROWS, seed=2))
    performance = degradations.ALARM.performance
    assert performance
    degradation = replace(degradations.ALARM, performance=replace(performance, chosen_until=until))
    target = TargetDrift(0.3, 0.2, 0.001, {"a": 50, "b": 50}, {"a": 40, "b": 10}, "a: 50 % → 80 %")
    judgement = replace(check.judgement, degradation=degradation, target_drift=target)
    text = Page(HtmlReport().write(replace(check, judgement=judgement), known, numeric_table(2))).text
    assert "Labels of the window" in text
    mark = (
        "These labels are more of suspected rows than of all: their shares are not those of all predictions."
    )
    assert (mark in text) == (until is not None)


def test_the_longest_degradation_block_stays_small_and_escaped() -> None:
    long = replace(
        degradations.ALARM,
        sentence=EVIL * 100,
        evidence=tuple(Evidence("disagreement", f"{EVIL * 9}{i}", 0.5, note=EVIL * 50) for i in range(900)),
        suspects=tuple(Suspect(EVIL * 9, 0.1, EVIL * 50) for _ in range(900)),
        segment=EVIL * 50,
        to_label=tuple(EVIL * 9 for _ in range(900)),
    )
    _, page = page_of(numeric_table(300), numeric_table(300, rows=ROWS, seed=2), degradation=long)
    assert not page.all("script")
    assert not page.all("img")
    assert "weakest rows are not shown" in page.text


def test_the_drifted_column_comes_first() -> None:
    _, page = page_of(numeric_table(4), numeric_table(4, rows=ROWS, shifted=(2,), seed=2))
    links = [a["href"] for a in page.all("a")]
    assert links[:2] == ["#c1", "#c1"]
    assert page.text.index("x2") < page.text.index("x0")
    assert {a["id"] for a in page.all("article")} == {h.removeprefix("#") for h in links}


def test_every_statistic_of_every_column_is_shown() -> None:
    window = numeric_table(2, rows=ROWS, seed=2)
    check, page = page_of(
        {**numeric_table(2), "c": as_column(["a", "b"] * 50)}, {**window, "c": as_column(["a", "b"] * 40)}
    )
    results = [r for c in check.judgement.columns for r in c.comparison.results]
    assert len(results) > 15
    for result in results:
        assert page.text.count(result.statistic) >= sum(r.statistic == result.statistic for r in results)
    assert page.text.count("distance") >= sum(r.kind.value == "distance" for r in results)
    assert all(f"\n{c.reason}" in page.text for c in check.judgement.columns)


def test_a_size_has_as_many_digits_as_its_noise() -> None:
    psi = Result("PSI", 0.0004211, ResultKind.DISTANCE, None, 9, 9)
    texts = [_format_with_noise(replace(psi, noise=noise)) for noise in (0.004, 0.0001, None)]
    assert texts == [("0.0004", "0.0040"), ("0.000421", "0.000100"), ("0.0004211", "")]
    assert _format_with_noise(replace(psi, value=0.5, noise=0.381)) == ("0.500", "0.381")


def test_effect_sizes_are_shown_with_their_noise() -> None:
    _, page = page_of(numeric_table(1), numeric_table(1, rows=ROWS, shifted=(0,), seed=2))
    noise = f"{psi_noise(bins=10, n=100, m=ROWS):.3f}"
    assert noise == "0.381"
    assert re.search(rf"\d\.\d+ / {noise}", page.text)
    assert page.text.count(noise) == 2


def test_weak_evidence_is_shown_with_the_strict_threshold() -> None:
    roles = {"x0": "feature"}
    comparison = compare(numeric_table(1), {"x0": numeric_table(1)["x0"][:ROWS] + 0.4}, roles=roles)
    check, known = check_of(numeric_table(1), numeric_table(1))
    check = replace(check, judgement=judge(comparison, rows=ROWS, strong=1e-6))
    page = Page(HtmlReport().write(check, known, {}))
    assert "No column drifted." in page.text
    assert "Weak evidence (p 0.0" in page.text
    assert "1e-06" in page.text


def test_unknown_is_not_ok_and_an_error_is_shown() -> None:
    window = numeric_table(2, rows=ROWS, seed=2)
    del window["x1"]
    check, page = page_of(numeric_table(2), window, error="the other report failed")
    assert check.judgement.verdict is Verdict.UNKNOWN
    assert "? unknown" in page.text
    assert "does not mean that all is well" in page.text
    assert "the other report failed" in page.text
    assert "the current data has no such column" in page.text


def test_a_check_without_a_compared_column_has_a_page() -> None:
    check, page = page_of({"a": np.arange(20.0)}, {"b": np.arange(20.0)})
    assert [c.compared for c in check.judgement.columns] == [False, False]
    assert check.judgement.sentence in page.text


def test_a_kind_that_cannot_be_compared_is_not_called_unknown() -> None:
    texts = np.array([f"user-{i}-{i * i}" for i in range(100)], object)
    numbers = np.arange(100.0) * 37 % 50
    reference, window = {"user": texts, "x": numbers}, {"user": texts[::-1], "x": numbers}
    check, page = page_of(reference, window)
    assert [(c.compared, c.left_out) for c in check.judgement.columns] == [(False, True), (True, False)]
    assert "not compared" in page.text
    assert "? unknown" not in page.text


def test_names_and_values_of_users_are_escaped() -> None:
    reference = {
        EVIL: as_column([EVIL, "b"] * 40),
        f"{EVIL}2": np.arange(80.0),
        "": np.arange(80.0),
        "\ud800": np.arange(80.0),
        "\x1b[31m\0": as_column(["\x07", "b"] * 40),
    }
    window = {name: column[::-1] for name, column in reference.items()} | {"<i>extra</i>": np.arange(80.0)}
    _, page = page_of(reference, window, model=EVIL, error=EVIL)
    assert not page.all("script")
    assert not page.all("img")
    assert not page.all("i")
    assert EVIL in page.text
    assert "\\x1b[31m\\x00" in page.text
    assert not set("\x00\x07\x1b") & set(page.text)


def test_the_page_is_self_contained() -> None:
    content = HtmlReport().write(*check_of(numeric_table(3), numeric_table(3, rows=ROWS, seed=2)), {})
    page = Page(content)
    assert not {"script", "link", "iframe", "img", "object", "form"} & {tag for tag, _ in page.tags}
    assert all(a["href"].startswith("#") for a in page.all("a"))
    assert not any(
        "src" in attrs or "style" in attrs or any(k.startswith("on") for k in attrs) for _, attrs in page.tags
    )
    assert b"url(" not in content
    assert b"@import" not in content
    assert not re.search(rb"https?://", content)


def test_the_page_is_accessible() -> None:
    _, page = page_of(numeric_table(3), numeric_table(3, rows=ROWS, seed=2))
    assert len(page.all("svg")) == 3
    assert all(svg["role"] == "img" for svg in page.all("svg"))
    assert len(page.all("title")) > 3
    assert all(th["scope"] in ("row", "col") for th in page.all("th"))


@pytest.mark.parametrize("columns", [60, 400, 2000])
def test_a_wide_table_stays_small(columns: int) -> None:
    shifted = range(columns - 3, columns)
    window = numeric_table(columns, rows=ROWS, shifted=shifted, seed=2)
    check, page = page_of(numeric_table(columns), window)
    drifted = check.judgement.drifted_columns
    assert len(drifted) >= 3
    assert "by the size of their change, then by p-value" in page.text
    assert all(page.text.count(name) > 1 for name in drifted)


def test_drifted_columns_are_listed_by_the_size_of_their_change_as_in_the_sentence() -> None:
    sizes = {3: 0.7, 7: 4.0, 11: 1.5, 14: 2.5}  # with p-values that are 0, or have no full precision
    window = {
        name: values + sizes.get(i, 0.0)
        for i, (name, values) in enumerate(numeric_table(20, rows=20_000, seed=2).items())
    }
    check, page = page_of(numeric_table(20, rows=20_000), window)
    order = ["x7", "x14", "x11", "x3"]
    assert check.judgement.sentence.startswith("Drift in x7, x14, x11")
    assert [c.column for c in listed_columns(check.judgement)[0]][:4] == order
    places = [page.text.rindex(name + " ") for name in order]
    assert places == sorted(places)


def test_the_first_thirty_of_300_columns_are_shown_in_detail() -> None:
    _, page = page_of(numeric_table(300), numeric_table(300, rows=ROWS, seed=2))
    assert len(page.all("article")) == 30
    assert all(f"x{i}" in page.text for i in range(300))


def test_the_longest_names_and_categories_stay_small() -> None:
    categories = ["&" * 300 + str(i) for i in range(40)] * 2
    reference = {"\"'<>&" * 100 + str(i): as_column(categories) for i in range(300)}
    window = {name: as_column(["\U0001f514" * 500] * ROWS) for name in reference}
    check, _ = page_of(reference, window)
    assert len(check.judgement.drifted_columns) == 300


@pytest.mark.parametrize(
    "column",
    [
        np.full(ROWS, 3.0),
        np.full(ROWS, np.nan),
        np.full(ROWS, np.inf),
        as_column([None] * ROWS),
        as_column(["a", 1.5, True, None] * 20),
        as_column([f"key {i}" for i in range(ROWS)]),
        as_column([datetime(2026, 1, 1, tzinfo=UTC)] * ROWS),
    ],
    ids=["constant", "not a number", "infinite", "null", "mixed", "keys", "dates"],
)
def test_one_odd_column_does_not_break_the_page(column: np.ndarray) -> None:
    plain = np.random.default_rng(1).normal(size=ROWS)
    page_of({"plain": plain, "odd": column}, {"plain": plain, "odd": column})
    page_of({"plain": plain, "odd": plain}, {"plain": plain, "odd": column})
    page_of({"plain": plain, "odd": column}, {"plain": plain, "odd": plain})


COUNTS = st.integers(0, 10**9)


@given(
    bins=st.lists(st.tuples(st.text(), COUNTS, COUNTS), max_size=45),
    numeric=st.booleans(),
    compact=st.booleans(),
)
def test_any_histogram_can_be_drawn(bins: list[tuple[str, int, int]], numeric: bool, compact: bool) -> None:
    labels = tuple(f"≤ {t}" if numeric else t for t, _, _ in bins)
    histogram = Histogram(labels, tuple(b[1] for b in bins), tuple(b[2] for b in bins))
    svg = str(histogram_svg(histogram, compact=compact))
    assert svg.startswith("<svg")
    assert "nan" not in re.sub("<t.*?</t[a-z]*>", "", svg, flags=re.DOTALL)
    assert len(svg) < 40_000


def test_a_histogram_shows_shares_not_counts() -> None:
    small = histogram_svg(Histogram(("a", "b"), (1, 3), (3, 1)))
    assert small == histogram_svg(Histogram(("a", "b"), (10, 30), (3000, 1000)))
    assert "from 25.0 % to 75.0 %" in small


def test_a_histogram_names_the_current_rows() -> None:
    histogram = Histogram(("a", "b"), (1, 3), (3, 1))
    assert ">window</text>" in histogram_svg(histogram)
    of_two_tables = histogram_svg(histogram, current="current")
    assert ">current</text>" in of_two_tables
    assert "bins, reference and current. Largest" in of_two_tables


def test_empty_special_bins_are_left_out() -> None:
    svg = histogram_svg(Histogram(("a", "(new)", "(null)"), (4, 0, 0), (3, 1, 0)))
    assert "(new)" in svg
    assert "(null)" not in svg


def test_the_labels_of_a_small_histogram_do_not_overlap() -> None:
    histogram = Histogram(("a" * 30, "b" * 30), (1, 1), (1, 1))
    svg = histogram_svg(histogram, width=CARD_WIDTH, height=CARD_HEIGHT, compact=True)
    labels = re.findall(">([ab]+…)<", svg)
    assert len(labels) == 2
    assert CHARACTER_WIDTH * sum(map(len, labels)) < CARD_WIDTH - 33


def test_a_compact_histogram_is_smaller() -> None:
    histogram = Histogram(tuple(map(str, range(16))), tuple(range(16)), tuple(range(16, 0, -1)))
    assert len(histogram_svg(histogram, compact=True)) < 0.7 * len(histogram_svg(histogram))
