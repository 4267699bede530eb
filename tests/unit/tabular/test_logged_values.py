from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pytest

from driftbell.errors import ConfigError
from driftbell.records import Columns, Feature, FieldProblem, Kind, Reference, Value
from driftbell.records.refusals import MODEL_ERROR
from driftbell.tabular.logged_values import (
    Hasher,
    LoggedValues,
    NumberBuckets,
    TimeBuckets,
    build_logged_values,
    check_forms,
    parse_forms,
)

KEY = b"0123456789abcdef0123456789abcdef"
FEATURES = (
    Feature("age", Kind.NUMERIC, nullable=True),
    Feature("email", Kind.CATEGORICAL),
    Feature("born", Kind.DATETIME),
    Feature("note", Kind.CATEGORICAL),
    Feature("member", Kind.BOOLEAN),
)
AGES = np.arange(200, dtype=np.float64)
ROW: list[Value] = [41.0, "a@example.org", "1980-05-17", "hello", True]


def text_column(*cells: object) -> np.ndarray:
    column = np.empty(len(cells), dtype=object)
    column[:] = cells
    return column


REFERENCE: Columns = {
    "age": AGES,
    "email": text_column(*[f"user{i % 7}@example.org" for i in range(200)]),
    "born": text_column(*[datetime(1950 + i // 12, 1 + i % 12, 3, tzinfo=UTC) for i in range(200)]),
    "note": text_column(*["hello"] * 200),
    "member": text_column(*[True, False] * 100),
}


def build(**forms: str) -> LoggedValues:
    logged = build_logged_values(FEATURES, forms, KEY, lambda: REFERENCE)
    assert logged is not None
    return logged


def test_equal_values_have_equal_hashes_and_no_others() -> None:
    hasher = Hasher(KEY, "x")
    values: list[Value] = [
        "Wien",
        "wien",
        "Wien ",
        "",
        "é",
        "e\u0301",
        "\ud800",
        7,
        8,
        0.5,
        -0.5,
        True,
        "日本",
    ]
    assert len({hasher(v) for v in values}) == len(values)
    assert hasher(7) == hasher(7.0) == hasher("7")
    assert hasher(0.1) == hasher(float(np.float32(0.1)))
    assert hasher(-0.0) == hasher(0)
    assert hasher(1e300) == hasher(1e300)
    assert hasher(None) is None
    assert hasher(float("nan")) is None


def test_hashes_depend_on_the_key_and_on_the_column() -> None:
    hashes = {Hasher(key, name)("Wien") for key in (KEY, KEY[::-1]) for name in ("city", "home")}
    assert len(hashes) == 4
    assert all(isinstance(h, str) and len(h) == 17 and "Wien" not in h for h in hashes)


def test_a_hash_is_the_same_in_every_process() -> None:
    program = f"from driftbell.tabular.logged_values import Hasher; print(Hasher({KEY!r}, 'city')('Wien'))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert done.stdout.strip() == Hasher(KEY, "city")("Wien") == "h4b1e6ddbfd1479f1"


def test_buckets_have_about_as_many_rows_and_keep_the_order() -> None:
    values = np.random.default_rng(0).lognormal(size=1000)
    buckets = NumberBuckets(values)
    logged = [buckets(v) for v in np.sort(values).tolist()]
    assert logged == sorted(logged)
    counts = np.unique(np.array(logged), return_counts=True)[1]
    assert len(counts) == 20
    assert counts.min() >= 40
    assert abs(np.mean(np.array(logged, dtype=float)) - values.mean()) < 1e-4


def test_values_beyond_the_range_keep_only_how_far_they_are() -> None:
    buckets = NumberBuckets(AGES)
    inside = buckets(199.0)
    near, far = {buckets(v) for v in (200, 210.5, 218)}, {buckets(v) for v in (220, 1e9, 3e38)}
    assert len(near) == len(far) == 1
    assert float(inside) < float(near.pop()) < float(far.pop())
    assert len({buckets(v) for v in (-25, -1e9)}) == 1
    assert float(buckets(-25)) < float(buckets(-1)) < float(buckets(0))


def test_few_rows_and_few_values_have_few_buckets() -> None:
    zeros = np.array([0.0] * 90 + [1.0] * 10)
    buckets = NumberBuckets(zeros)
    assert (buckets(0), buckets(0.3), buckets(0.7), buckets(1), buckets(1.0)) == (0, 0, 1, 1, 1)
    assert len({NumberBuckets(np.arange(15.0))(v) for v in range(15)}) == 1
    constant = NumberBuckets(np.full(50, 3.0))
    assert constant(3) == 3.0
    assert len({constant(v) for v in (2, 3, 4)}) == 3
    assert NumberBuckets(np.array([np.nan, np.nan]))(5) is not None


def test_single_precision_falls_into_the_same_bucket() -> None:
    values = np.round(np.arange(0, 10, 0.1), 1).repeat(10)
    buckets = NumberBuckets(values)
    assert all(buckets(v) == buckets(float(np.float32(v))) for v in values.tolist())


def test_a_time_stays_in_its_month() -> None:
    buckets = TimeBuckets(Hasher(KEY, "born"))
    days = [f"1980-02-{day:02}" for day in range(1, 30)]
    logged = [str(buckets(day)) for day in days]
    assert {day[:7] for day in logged} == {"1980-02"}
    assert len(set(logged)) > 10
    assert all(len(day) == 10 for day in logged)
    assert buckets("1980-02-03") == logged[2]
    at = str(buckets("2026-05-17T12:30:00+02:00"))
    assert at[:7] == "2026-05"
    assert at == buckets("2026-05-17T10:30:00Z") != "2026-05-17T10:30:00"
    assert buckets(None) is None


def test_a_row_has_the_kept_features_in_order() -> None:
    logged = build(age="bucket", email="hash", note="drop")
    assert logged.names == ("age", "email", "born", "member")
    assert logged.dropped == ("note",)
    assert logged.masked == {"age", "email", "note"}
    assert [f.example for f in logged.public] == [1, "text", None, "text", None]
    row = logged.row(ROW)
    assert row == [44.5, Hasher(KEY, "email")("a@example.org"), "1980-05-17", True]
    assert logged.row([None, *ROW[1:]])[0] is None
    assert ROW[0] == 41.0


def test_the_reference_is_as_it_would_have_been_logged() -> None:
    logged = build(age="bucket", email="hash", born="bucket", note="drop")
    columns = {**REFERENCE, "prediction": text_column(*["yes"] * 200)}
    roles = {**dict.fromkeys(REFERENCE, "feature"), "prediction": "prediction"}
    reference = Reference(columns, roles, "0123456789ab", kinds={"email": Kind.TEXT, "note": Kind.TEXT})
    masked = logged.reference(reference)
    assert tuple(masked.columns) == ("age", "email", "born", "member", "prediction") == tuple(masked.roles)
    assert masked.kinds == {"email": Kind.CATEGORICAL}
    assert masked.version != reference.version
    assert len(masked.version) == 12
    for i in (0, 55, 199):
        age, email, born, note, member = (REFERENCE[f.name][i] for f in FEATURES)
        row = logged.row([age, email, born.isoformat(), note, member])
        assert row[:2] == [masked.columns["age"][i], masked.columns["email"][i]]
        assert datetime.fromisoformat(str(row[2])) == masked.columns["born"][i]


def test_an_all_full_setting_changes_nothing() -> None:
    assert build_logged_values(FEATURES, {"age": "full"}, KEY, lambda: REFERENCE) is None
    assert build_logged_values(FEATURES, {"other": "hash"}, KEY, lambda: REFERENCE) is None


def test_the_id_changes_with_the_setting_the_key_and_the_buckets() -> None:
    other = {**REFERENCE, "age": AGES + 1}
    ids = {
        build(age="bucket").id,
        build(age="hash").id,
        build(age="drop").id,
        build(age="bucket", email="hash").id,
        build_logged_values(FEATURES, {"age": "bucket"}, KEY[::-1], lambda: REFERENCE).id,
        build_logged_values(FEATURES, {"age": "bucket"}, KEY, lambda: other).id,
    }
    assert len(ids) == 6
    assert build(age="bucket").id == build(age="bucket").id


def test_problems_and_metadata_lose_what_is_masked() -> None:
    logged = build(email="hash", note="drop")
    for field in ("email", "note", "", "unknown"):
        assert logged.problem(FieldProblem(field, "type", "…", value="secret")).value == "***"
    assert logged.problem(FieldProblem("age", "type", "…", value="n/a")).value == "n/a"
    assert logged.problem(FieldProblem("", MODEL_ERROR, "…", value="status 500")).value == "status 500"
    assert logged.problem(FieldProblem("email", "null", "…")).value == ""
    assert logged.metadata({"note": "x", "team": "a"}) == {"team": "a"}
    assert logged.metadata({"team": "a"}) == {"team": "a"}
    assert logged.metadata(None) is None


@pytest.mark.parametrize(("name", "what"), [("email", "text"), ("member", "true and false")])
def test_only_numbers_and_times_have_buckets(name: str, what: str) -> None:
    with pytest.raises(ConfigError, match=f'{name}\' has {what}, .* use "hash" or "drop"'):
        build(**{name: "bucket"})


def test_numbers_that_are_categories_have_no_buckets() -> None:
    zips = (Feature("zip", Kind.NUMERIC, dtype="category"),)
    with pytest.raises(ConfigError, match="'zip' has categories"):
        build_logged_values(zips, {"zip": "bucket"}, KEY, dict)


def test_not_every_feature_can_be_dropped() -> None:
    with pytest.raises(ConfigError, match="drops every feature"):
        build(**{feature.name: "drop" for feature in FEATURES})


def test_columns_that_are_no_features_are_named() -> None:
    names, others = ("age", "email"), {"bought": "label", "predicted": "prediction"}
    check_forms(names, {"age": "hash"}, others)
    with pytest.raises(ConfigError, match="no feature 'emial': did you mean 'email'"):
        check_forms(names, {"emial": "hash"}, others)
    with pytest.raises(ConfigError, match="'bought' is the label, which is always logged"):
        check_forms(names, {"bought": "drop"}, others)


def test_forms_are_read() -> None:
    assert parse_forms({"a": "hash"}) == parse_forms("a=hash") == {"a": "hash"}
    with pytest.raises(ValueError, match="column 'a' has the unknown value 'hsh': did you mean 'hash'"):
        parse_forms("a=hsh")
