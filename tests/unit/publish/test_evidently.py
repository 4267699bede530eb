from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from tests import degradations
from tests.offline import no_network

from driftbell.drift.compare import compare
from driftbell.drift.judge import judge
from driftbell.errors import ReportError
from driftbell.publish import evidently as sink
from driftbell.records import Check, CheckKind, Reference
from driftbell.tabular.columns import as_column

if os.environ.get("CI") != "true" and not sink.evidently_available():
    pytest.skip("Evidently is not installed", allow_module_level=True)

EVIL = "</script><script>notification(1)</script>"
ROWS = 80


@pytest.fixture(scope="module", autouse=True)
def _imported_without_network() -> Iterator[None]:
    with no_network():
        sink.import_evidently()
        yield


def check_of(
    reference: dict[str, np.ndarray], window: dict[str, np.ndarray], **rule: Any
) -> tuple[Check, Reference]:
    roles = dict.fromkeys(reference, "feature")
    judgement = judge(compare(reference, window, roles=roles), rows=ROWS, **rule)
    check = Check(
        id="abcdef0123456789",
        time=datetime(2026, 1, 31, 12, 0, 5, tzinfo=UTC),
        kind=CheckKind.AUTOMATIC,
        model="iris",
        version="0123456789ab",
        reference="5f5f5f5f5f5f",
        rows=ROWS,
        first=1,
        last=ROWS,
        judgement=judgement,
    )
    return check, Reference(reference, roles, "5f5f5f5f5f5f")


def snapshot_of(check: Check, reference: Reference, window: dict[str, np.ndarray]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sink.build_snapshot(check, reference, window)


def assert_agrees(check: Check, snapshot: Any) -> None:
    """Evidently's decision on each compared column, and on the data set, equals ours."""
    judged = sorted(
        (c for c in check.judgement.columns if c.adjusted_p_value is not None),
        key=lambda c: c.adjusted_p_value,
    )
    content = snapshot.dict()
    if not judged:
        assert content == {"metrics": [], "tests": []}
        return
    whole, *columns = content["metrics"]
    drifted = len(check.judgement.drifted_columns)
    assert whole["value"]["count"] == drifted
    assert [m["value"] for m in columns] == pytest.approx([c.adjusted_p_value for c in judged])
    failed = ["FAIL" in str(t["status"]) for t in content["tests"]]
    assert failed == [drifted > 0, *(c.drifted for c in judged)]
    widgets = snapshot._widgets
    summary = json.dumps([w.params for w in widgets if "counters" in w.params])
    assert ("Dataset Drift is NOT detected" in summary) == (drifted == 0)
    assert ("Dataset Drift is detected" in summary) == (drifted > 0)
    table = next(w for w in widgets if w.type == "big_table")
    decisions = [row["data_drift"] for row in table.params["data"]]
    assert decisions == ["Detected" if c.drifted else "Not Detected" for c in judged]


def plain_table(rows: int, *, shift: float = 0.0, seed: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "height": rng.normal(shift, size=rows),
        "weight": rng.normal(size=rows),
        "colour": as_column(rng.choice(["red", "green", "blue"], rows).tolist()),
        "prediction": as_column(rng.choice(["yes", "no"], rows).tolist()),
    }


@pytest.mark.parametrize(
    ("shift", "seed"),
    [(0.0, 2), (0.0, 4), (0.4, 3), (0.4, 4), (0.5, 4), (0.6, 2), (3.0, 3)],
    ids=["none", "another none", "just drifted", "just not drifted", "weak", "strong", "far away"],
)
def test_evidently_agrees_with_the_verdict(shift: float, seed: int) -> None:
    reference, window = plain_table(150), plain_table(ROWS, shift=shift, seed=seed)
    check, known = check_of(reference, window)
    assert_agrees(check, snapshot_of(check, known, window))


@pytest.mark.parametrize(("held", "drifted"), [((), ()), (("height",), ("height",))])
def test_evidently_agrees_about_weak_evidence(held: tuple[str, ...], drifted: tuple[str, ...]) -> None:
    reference, window = plain_table(150), plain_table(ROWS, shift=0.5, seed=2)
    check, known = check_of(reference, window, strong=1e-9, persistent=held)
    assert check.judgement.columns[0].adjusted_p_value < 0.05
    assert check.judgement.drifted_columns == drifted
    assert_agrees(check, snapshot_of(check, known, window))


@pytest.mark.slow
def test_one_drifted_column_of_many_is_dataset_drift() -> None:
    rng = np.random.default_rng(1)
    reference = {f"x{i}": rng.normal(size=100) for i in range(11)}
    window = {name: rng.permutation(column)[:ROWS] for name, column in reference.items()}
    window["x7"] = window["x7"] + 5
    check, known = check_of(reference, window)
    assert check.judgement.drifted_columns == ("x7",)
    assert_agrees(check, snapshot_of(check, known, window))


@pytest.fixture(scope="module")
def drifted() -> tuple[Check, str]:
    """A check with a drifted column, and its page."""
    window = plain_table(ROWS, shift=3, seed=2)
    check, reference = check_of(plain_table(150), window)
    return check, sink.EvidentlyReport().write(check, reference, window).decode()


def test_the_page_names_the_model_the_verdict_and_the_tests(drifted: tuple[Check, str]) -> None:
    check, page = drifted
    assert "<title>warning: drift report of iris</title>" in page
    assert '<meta name="viewport" content="width=1100">' in page
    data = data_of(page)
    for text in (check.judgement.sentence, "0123456789ab", "2026-01-31 12:00:05 UTC"):
        assert text in data
    for test in ("Kolmogorov–Smirnov + exceedance + nulls, adjusted p_value", "chi-square, adjusted p_value"):
        assert json.dumps(test)[1:-1] in data
    assert "DATA DISTRIBUTION" in data
    assert "The drift detection method is" in data


def test_the_page_shows_degradation() -> None:
    reference, window = plain_table(150), plain_table(ROWS, seed=2)
    check, known = check_of(reference, window)
    check = replace(check, judgement=replace(check.judgement, degradation=degradations.ALARM))
    data = data_of(sink.EvidentlyReport().write(check, known, window).decode())
    for text in (
        degradations.ALARM.sentence,
        "does the model perform worse?",
        "4.2 points of accuracy",
        "estimated loss (90 % interval: 1.8 to 6.6)",
        "2026-01-31 10:20 UTC",
        "change point (90 % interval: 09:50 to 10:35)",
        "95.3 %",
        "accuracy, realized",
    ):
        assert text in data


def test_unknown_degradation_is_shown_and_degradation_that_was_not_estimated_is_omitted() -> None:
    check, _ = check_of(plain_table(150), plain_table(ROWS, seed=2))
    assert "perform worse" not in str(sink._heading(check, 0))
    check = replace(check, judgement=replace(check.judgement, degradation=degradations.UNKNOWN))
    assert ("unknown", "does the model perform worse?") in sink._heading(check, 0)[-1]
    assert ("unknown", "estimated loss") in sink._heading(check, 0)[-1]


def data_of(page: str) -> str:
    return "\n".join(re.findall(r"^\s*var \w+ = .*$", page, flags=re.MULTILINE))


def odd_tables() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    rng = np.random.default_rng(5)
    n = 120
    day = datetime(2026, 1, 1, tzinfo=UTC)
    names = [
        EVIL,
        "target",
        "id",
        "",
        " ",
        "x" * 500,
        "x" * 501,
        "\ud800",
        "__proto__",
        "Index",
        "$x^2$ & \"q\" 'a'",
        "{{7*7}}",
    ]
    reference = {
        **{name: rng.normal(size=n) for name in names},
        "prediction": as_column(rng.choice(["a", "b"], n).tolist()),
        "constant": np.full(n, 3.0),
        "huge constant": np.full(n, 1e17),
        "huge": rng.normal(size=n) * 1e150,
        "tiny": rng.normal(size=n) * 1e-320,
        "null in window": rng.normal(size=n),
        "null in reference": np.full(n, np.nan),
        "null everywhere": np.full(n, np.nan),
        "infinite": rng.normal(size=n),
        "all infinite": rng.normal(size=n),
        "some null": rng.normal(size=n),
        "mixed": rng.normal(size=n),
        "mixed category": as_column([[1, "a", True, 2.5][i] for i in rng.integers(0, 4, n)]),
        "date": as_column([day + timedelta(hours=i) for i in range(n)]),
        "flag": as_column(rng.choice([True, False], n).tolist()),
        "hundreds": as_column([f"c{i}" for i in rng.integers(0, 50, n)]),
        "keys": as_column([f"key {i}" for i in range(n)]),
        "evil category": as_column([f"{EVIL}{i}" for i in rng.integers(0, 3, n)]),
        "missing": rng.normal(size=n),
    }
    window = {k: v[rng.integers(0, n, ROWS)].copy() for k, v in reference.items() if k != "missing"}
    window["null in window"] = np.full(ROWS, np.nan)
    window["null in reference"] = rng.normal(size=ROWS)
    window["infinite"][:60] = np.repeat([np.inf, -np.inf], 30)
    window["all infinite"] = np.full(ROWS, np.inf)
    window["some null"][:30] = np.nan
    window["mixed"] = as_column(["a", 1.5] * (ROWS // 2))
    window["flag"] = as_column(["yes"] * ROWS)
    window["hundreds"] = as_column([f"new {i}" for i in range(ROWS)])
    window["extra <i>"] = np.arange(float(ROWS))
    return reference, window


@pytest.mark.slow
def test_odd_columns_do_not_break_the_report_and_are_not_executed(monkeypatch: pytest.MonkeyPatch) -> None:
    reference, window = odd_tables()
    check, known = check_of(reference, window)
    assert len(check.judgement.drifted_columns) >= 7
    snapshot = snapshot_of(check, known, window)
    assert_agrees(check, snapshot)
    monkeypatch.setattr(sink, "build_snapshot", lambda *args: snapshot)  # building it again takes seconds
    data = data_of(sink.EvidentlyReport().write(check, known, window).decode())
    assert "notification(1)" in data
    assert "<script" not in data
    assert "</script" not in data


@pytest.mark.parametrize(
    ("reference", "window"),
    [
        ({"a": np.arange(50.0)}, {"a": np.arange(50.0)}),
        ({"a": np.arange(50.0)}, {"a": np.arange(50.0) + 100}),
        ({"a": as_column(["x", "y"] * 25)}, {"a": as_column(["x", "y"] * 25)}),
        ({"a": as_column(["x", "y"] * 25)}, {"b": as_column(["x", "y"] * 25)}),
        ({"a": np.array([1.0]), "b": as_column(["q"])}, {"a": np.arange(50.0), "b": as_column(["z"] * 50)}),
        ({"a": as_column([None] * 20)}, {"a": as_column([None] * 20)}),
    ],
    ids=["one number", "one drifted number", "one category", "none judged", "one row", "all null"],
)
def test_small_tables_have_a_page(reference: dict[str, np.ndarray], window: dict[str, np.ndarray]) -> None:
    check, known = check_of(reference, window)
    assert_agrees(check, snapshot_of(check, known, window))
    assert sink.EvidentlyReport().write(check, known, window).startswith(b"<!DOCTYPE html>")


def test_a_wide_table_shows_its_drifted_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink, "MAX_COLUMNS", 3)
    rng = np.random.default_rng(1)
    reference = {f"x{i}": rng.normal(size=100) for i in range(9)}
    window = {name: rng.normal(size=ROWS) for name in reference}
    window["x8"] = window["x8"] + 5
    check, known = check_of(reference, window)
    snapshot = snapshot_of(check, known, window)
    whole, *columns = snapshot.dict()["metrics"]
    assert whole["value"]["count"] == len(check.judgement.drifted_columns)
    assert len(columns) == 3
    assert "6 columns with the largest p-values" in json.dumps(
        [w.params for w in snapshot._widgets], default=str
    )


def test_two_reports_do_not_mix() -> None:
    first, second = plain_table(ROWS, shift=3, seed=2), plain_table(ROWS, seed=3)
    drifted, known = check_of(plain_table(150), first)
    same, _ = check_of(plain_table(150), second)
    assert_agrees(drifted, snapshot_of(drifted, known, first))
    assert_agrees(same, snapshot_of(same, known, second))
    assert_agrees(drifted, snapshot_of(drifted, known, first))


def test_a_failure_of_evidently_is_a_report_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(sink, "build_snapshot", fail)
    window = plain_table(ROWS)
    with pytest.raises(ReportError, match=r"^Evidently failed with ZeroDivisionError$"):
        sink.EvidentlyReport().write(*check_of(plain_table(150), window), window)


def test_the_module_does_not_import_evidently() -> None:
    code = """
import sys
import driftbell.publish.evidently as sink
assert sink.evidently_available()
assert not {"evidently", "pandas", "plotly"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=120)


def test_evidently_sends_nothing() -> None:
    import evidently.telemetry

    assert not evidently.telemetry.event_logger.is_enabled()


def test_the_page_loads_nothing(drifted: tuple[Check, str]) -> None:
    markup = re.sub(r"<script>.*?</script>", "", drifted[1], flags=re.DOTALL)
    assert not re.search(r"<(link|img|iframe|script)\b|https?://", markup)
    assert not re.search(r"url\((?!data:)", markup)
