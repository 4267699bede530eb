"""Labels: which bodies are taken, which files are read, and how a file is sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from driftbell.errors import ConfigError, InputError
from driftbell.ops.label_upload import LabelFile, LabelLine, UploadResult, read_labels, send_labels
from driftbell.server.api.label_body import MAX_LABELS, LabelReader
from driftbell.server.http.problems import MAX_PROBLEMS, Refused
from driftbell.tabular.class_names import ClassNames

IRIS = LabelReader(["setosa", "versicolor", "virginica"])
GOOD = {"prediction_id": "id-1", "label": "setosa"}


# bodies


@pytest.mark.parametrize("body", [GOOD, [GOOD], {"labels": [GOOD]}], ids=["one", "list", "labels"])
def test_one_label_or_many_are_pairs(body: Any) -> None:
    assert IRIS.read(body).pairs == [("id-1", "setosa")]


@pytest.mark.parametrize(
    ("names", "label", "expected"),
    [
        (("a", "b"), "b", "b"),
        (("a", "b"), 1, "b"),
        (("a", "b"), 1.0, "b"),
        (("a", "b"), 2, None),
        (("a", "b"), -1, None),
        (("a", "b"), 0.5, None),
        (("a", "b"), "1", "b"),
        (("a", "b"), " B ", "b"),
        (("a", "b"), "c", None),
        (("a", "b"), True, None),
        (("1", "2"), 1, "1"),
        (("1", "2"), 2.0, "2"),
        (("1", "2"), 0, None),
        (("1", "2"), "1", "1"),
        (("0.0", "1.0"), 1, "1.0"),
        (("0.0", "1.0"), "1", "1.0"),
        (("0", "1"), "1.0", "1"),
        (("0", "1"), True, "1"),
        (("0", "1"), "true", None),
        (("007", "7"), "7", "7"),
        (("1_0", "b"), 10, None),
        (("nan", "b"), 1, "b"),
        (("False", "True"), True, "True"),
        (("False", "True"), 1, "True"),
        (("False", "True"), "true", "True"),
        (("false", "true"), True, "true"),
        (("a", "b"), None, None),
        (("a", "b"), [], None),
        (("a", "b"), {}, None),
        (("a", "b"), float("nan"), None),
        (("a", "b"), float("inf"), None),
    ],
)
def test_a_label_is_a_class_name_or_a_number_that_means_one(
    names: tuple[str, ...], label: Any, expected: str | None
) -> None:
    assert ClassNames(names).find(label) == expected


BAD = {
    "missing": ({"label": "setosa"}, "prediction_id", "missing"),
    "no label": ({"prediction_id": "a"}, "label", "missing"),
    "extra": ({**GOOD, "class": 1}, "class", "extra"),
    "list as label": ({**GOOD, "label": ["setosa"]}, "label", "label"),
    "infinite label": ({**GOOD, "label": float("inf")}, "label", "label"),
    "huge label": ({**GOOD, "label": 10**400}, "label", "label"),
    "NUL in a label": ({**GOOD, "label": "a\0"}, "label", "label"),
    "half a pair as label": ({**GOOD, "label": "\ud800"}, "label", "label"),
    "long label": ({**GOOD, "label": "x" * 201}, "label", "label"),
    "number as id": ({**GOOD, "prediction_id": 5}, "prediction_id", "type"),
    "empty id": ({**GOOD, "prediction_id": ""}, "prediction_id", "type"),
    "long id": ({**GOOD, "prediction_id": "x" * 129}, "prediction_id", "type"),
    "half a pair": ({**GOOD, "prediction_id": "\ud800"}, "prediction_id", "type"),
    "NUL": ({**GOOD, "prediction_id": "a\0"}, "prediction_id", "type"),
    "text": ("setosa", "", "not_an_object"),
    "list in a list": ([GOOD], "", "not_an_object"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_label_is_refused_with_its_field_and_row(name: str) -> None:
    bad, field, reason = BAD[name]
    with pytest.raises(InputError) as raised:
        IRIS.read([GOOD, bad])
    (problem,) = raised.value.problems
    assert (problem.field, problem.reason, problem.row) == (field, reason, 1)
    if isinstance(bad, dict):
        with pytest.raises(InputError) as raised:
            IRIS.read(bad)
        assert raised.value.problems[0].row is None
    if field == "label" and reason == "label":
        assert "'setosa', 'versicolor' and 'virginica'" in problem.message


def test_problems_are_listed_up_to_a_limit() -> None:
    with pytest.raises(InputError) as raised:
        IRIS.read([{}, GOOD, {"label": []}])
    assert [(p.row, p.field) for p in raised.value.problems] == [
        (0, "prediction_id"),
        (0, "label"),
        (2, "prediction_id"),
        (2, "label"),
    ]
    with pytest.raises(InputError) as raised:
        IRIS.read([5] * MAX_LABELS)
    assert len(raised.value.problems) == MAX_PROBLEMS


def test_many_classes_are_not_all_listed() -> None:
    with pytest.raises(InputError, match="'c19' and 80 more"):
        LabelReader([f"c{i}" for i in range(100)]).read({**GOOD, "label": []})


def test_a_label_that_is_no_class_of_the_model_is_counted_as_unseen() -> None:
    for body in ({**GOOD, "label": "rose"}, [GOOD, {**GOOD, "label": "rose"}], [{**GOOD, "label": "rose"}]):
        request = IRIS.read(body)
        assert request.pairs[-1] == ("id-1", "rose")
        assert request.unseen == {"rose": 1}
    assert IRIS.read({**GOOD, "label": 7}).pairs == [("id-1", "7")]


def test_a_list_without_any_class_of_the_model_may_be_a_typo_and_is_refused_with_both_lists() -> None:
    roses = [{**GOOD, "label": "rose"}, {**GOOD, "label": "Rosa"}, {**GOOD, "label": None}]
    with pytest.raises(Refused) as raised:
        IRIS.read(roses)
    assert (raised.value.status, raised.value.reason) == (422, "no_class")
    assert raised.value.detail == (
        "none of the 2 labels is a class of the model: 'rose' and 'Rosa' against 'setosa', 'versicolor' and "
        "'virginica'; if they are right, send them again with ?accept_unseen=true, and they count as wrong "
        "answers"
    )
    request = IRIS.read(roses, accept_unseen=True)
    assert (len(request.pairs), request.unseen.total(), request.empty) == (2, 2, 1)


@pytest.mark.parametrize("label", [None, "", "  ", float("nan")])
def test_empty_labels_of_a_list_are_skipped_and_counted(label: Any) -> None:
    request = IRIS.read({"labels": [GOOD, {**GOOD, "label": label}]})
    assert (request.pairs, request.empty, request.unseen.total()) == ([("id-1", "setosa")], 1, 0)
    with pytest.raises(InputError, match="'label' is empty: send the true class"):
        IRIS.read({**GOOD, "label": label})


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ([], "empty_batch"),
        ({"labels": []}, "empty_batch"),
        ({"labels": GOOD}, "not_labels"),
        ({"labels": None}, "not_labels"),
        ([GOOD] * (MAX_LABELS + 1), "too_many"),
    ],
    ids=["empty", "empty labels", "object", "null", "too many"],
)
def test_a_body_without_labels_or_with_too_many_is_refused(body: Any, reason: str) -> None:
    with pytest.raises(Refused) as raised:
        IRIS.read(body)
    assert (raised.value.status, raised.value.reason) == (422, reason)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["labels", "label", "prediction_id", "x"]), inner, max_size=3)
    ),
)


@given(json_values)
def test_any_body_is_accepted_or_refused_with_a_message(body: Any) -> None:
    try:
        pairs = IRIS.read(body).pairs
    except InputError as error:
        pairs, messages = [], [p.message for p in error.problems]
    except Refused as error:
        pairs, messages = [], [error.detail]
    else:
        messages = ["taken"]
    assert all(messages)
    assert all(value.strip() for _, value in pairs)


# files


def written(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def test_the_three_formats_are_read_alike(tmp_path: Path) -> None:
    written(tmp_path / "a.csv", "note,label,prediction_id\nx,setosa,id-1\n\n,1,id-2\n")
    written(
        tmp_path / "a.jsonl",
        '{"prediction_id": "id-1", "label": "setosa"}\n\n{"prediction_id": "id-2", "label": 1, "note": 0}\n',
    )
    for suffix in ("csv", "jsonl"):
        assert read_labels(tmp_path / f"a.{suffix}").lines == (
            LabelLine(f"{tmp_path}/a.{suffix} line {1 + (suffix == 'csv')}", "id-1", "setosa"),
            LabelLine(f"{tmp_path}/a.{suffix} line {3 + (suffix == 'csv')}", "id-2", 1),
        )
    table = pyarrow.table({"prediction_id": ["id-1", "id-2"], "label": [0, 1]})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert [(line.prediction_id, line.label) for line in read_labels(tmp_path / "a.parquet").lines] == [
        ("id-1", 0),
        ("id-2", 1),
    ]


def test_a_quoted_line_break_does_not_shift_the_line_numbers(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", 'prediction_id,label,note\na,setosa,"x\ny"\n,b,z\n')
    with pytest.raises(ConfigError, match="line 4: 'prediction_id' is empty"):
        read_labels(path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "prediction_id,label\na,setosa\nb,\nc,  \n,\n"),
        (
            "a.jsonl",
            '{"prediction_id": "a", "label": "setosa"}\n{"prediction_id": "b"}\n'
            '{"prediction_id": "c", "label": null}\n{"prediction_id": "d", "label": NaN}\n',
        ),
    ],
)
def test_rows_with_an_empty_label_are_skipped_and_counted(tmp_path: Path, name: str, text: str) -> None:
    file = read_labels(written(tmp_path / name, text))
    assert [(line.prediction_id, line.label) for line in file.lines] == [("a", "setosa")]
    assert file.empty == 3


def test_empty_labels_of_a_parquet_file_are_skipped(tmp_path: Path) -> None:
    table = pyarrow.table({"prediction_id": ["a", "b"], "label": [None, 1]})
    parquet.write_table(table, tmp_path / "a.parquet")
    file = read_labels(tmp_path / "a.parquet")
    assert ([(line.prediction_id, line.label) for line in file.lines], file.empty) == ([("b", 1)], 1)


def test_numbers_with_leading_zeros_are_names(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "prediction_id,label\n007,07\n12,0\n-1,-3\n")
    result = [(line.prediction_id, line.label) for line in read_labels(path).lines]
    assert result == [("007", "07"), ("12", 0), ("-1", -3)]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        (
            "a.csv",
            "prediction_id,class\na,b\n",
            "must have one column 'label': it has 'prediction_id' and 'class'",
        ),
        ("a.csv", "prediction_id,label,label\na,b,c\n", "duplicate column name 'label'"),
        ("a.csv", "", "the file is empty"),
        ("a.csv", "prediction_id,label\n", "has no labels"),
        ("a.csv", "prediction_id,label\na,b\n,b\n", "line 3: 'prediction_id' is empty"),
        ("a.csv", "prediction_id,label\na\n", "line 2 has 1 cell, the header 2"),
        ("a.csv", 'prediction_id,label\n"a', "cannot read"),
        ("a.jsonl", '{"prediction_id": "a"}\n', "has no labels: every cell is empty"),
        ("a.jsonl", '{"prediction_id": "a", "label": []}', "line 1: 'label' must be a text or a number"),
        ("a.jsonl", '{"prediction_id": "a", "label": Infinity}', "'label' must be a text or a number"),
        ("a.jsonl", '{"prediction_id": "\\ud800", "label": 1}', "'prediction_id' must be a text"),
        ("a.jsonl", "\n{oops\n", "line 2 is not valid JSON"),
        ("a.jsonl", "5\n", "line 1 must be an object with 'prediction_id' and 'label'"),
        ("a.xlsx", "", "must end in .csv, .parquet or .jsonl"),
    ],
)
def test_an_invalid_file_is_an_error_with_column_and_line(
    tmp_path: Path, name: str, text: str, says: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        read_labels(written(tmp_path / name, text))
    assert says in str(raised.value)


def test_an_unreadable_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.csv"):
        read_labels(tmp_path / "missing.csv")
    (tmp_path / "bad.csv").write_bytes(b"prediction_id,label\n\0\0\0,a\n")
    with pytest.raises(ConfigError, match=r"bad\.csv"):
        read_labels(tmp_path / "bad.csv")
    table = pyarrow.table({"label": ["a"]})
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match="'prediction_id': it has 'label'"):
        read_labels(tmp_path / "a.parquet")


# sending


def lines(count: int) -> LabelFile:
    return LabelFile(tuple(LabelLine(f"a.csv line {i + 2}", f"id-{i}", "setosa") for i in range(count)), 3)


def answering(*answers: httpx.Response) -> tuple[httpx.Client, list[int]]:
    """A client that gets these answers one after the other, and the sizes of what it sent."""
    sizes: list[int] = []
    rest = iter(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        sizes.append(len(json.loads(request.content)["labels"]))
        return next(rest)

    return httpx.Client(transport=httpx.MockTransport(answer)), sizes


def receipt(accepted: int, *unknown: str, unseen: dict[str, int] | None = None) -> httpx.Response:
    body = {"accepted": accepted, "corrected": 1, "duplicates": 2, "unknown": list(unknown)}
    body |= {"empty": 0, "unseen": unseen or {}}
    return httpx.Response(200, json={**body, "unknown_count": len(unknown)})


def test_many_labels_are_sent_in_parts_and_their_counts_added() -> None:
    client, sizes = answering(receipt(2000, "x", unseen={"rose": 5}), receipt(500, "y", unseen={"rose": 2}))
    assert send_labels("http://a", lines(2500), client=client) == UploadResult(
        2500, 2, 4, ("x", "y"), 2, 3, {"rose": 7}
    )
    assert sizes == [2000, 500]


def test_labels_that_are_no_class_are_accepted_after_labels_that_are() -> None:
    queries: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        queries.append(request.url.query)
        return receipt(2000)

    client = httpx.Client(transport=httpx.MockTransport(answer))
    send_labels("http://a", lines(2500), client=client)
    send_labels("http://a", lines(1), client=client, accept_unseen=True)
    assert queries == [b"", b"accept_unseen=true", b"accept_unseen=true"]


def test_a_refused_file_without_any_class_names_the_option() -> None:
    detail = "none of the labels is a class; if they are right, send them again with ?accept_unseen=true"
    problem = {"detail": detail, "errors": [{"field": "label", "message": "no class"}]}
    client, _ = answering(httpx.Response(422, json=problem))
    with pytest.raises(ConfigError, match="send them again with --accept-unseen"):
        send_labels("http://a", lines(2), client=client)


def test_a_service_with_a_small_limit_gets_smaller_parts() -> None:
    client, sizes = answering(httpx.Response(413), receipt(1), receipt(1), receipt(1))
    assert send_labels("http://a", lines(100), client=client).accepted == 2
    assert sizes == [100, 50, 50]


def test_a_request_to_a_busy_service_is_retried_with_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    client, sizes = answering(httpx.Response(503), httpx.Response(503), receipt(1))
    assert send_labels("http://a", lines(1), client=client).accepted == 1
    assert (len(sizes), slept) == (3, [0.5, 1.0])
    busy = httpx.Response(503, json={"detail": "the log is locked"})
    client, sizes = answering(*[busy] * 5)
    with pytest.raises(ConfigError, match="answered 503: the log is locked"):
        send_labels("http://a", lines(1), client=client)
    assert (len(sizes), slept[2:]) == (5, [0.5, 1.0, 2.0, 4.0])


def test_a_refused_label_is_an_error_with_its_line_and_the_accepted_count() -> None:
    problem = {
        "detail": "…",
        "errors": [{"field": "label", "message": "'label' must be one of", "row": 3}] * 2,
    }
    client, _ = answering(receipt(2000), httpx.Response(422, json=problem))
    with pytest.raises(ConfigError) as raised:
        send_labels("http://a", lines(2100), client=client)
    assert str(raised.value) == (
        "a.csv line 2005: 'label' must be one of (and 1 more); "
        "2,003 labels before it were accepted; sending them again is safe"
    )


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (
            httpx.Response(404, json={"detail": "there is nothing here"}),
            "404: there is nothing here; name .* with --url",
        ),
        (httpx.Response(502, text="<html>"), "http://a answered 502 Bad Gateway; name .* with --url"),
        (httpx.Response(200, text="<html>"), "is not a driftbell service .* with --url"),
        (httpx.Response(200, json={"accepted": 1}), "is not a driftbell service"),
    ],
)
def test_an_answer_that_is_no_receipt_is_an_error(answer: httpx.Response, says: str) -> None:
    client, _ = answering(answer)
    with pytest.raises(ConfigError, match=says):
        send_labels("http://a", lines(1), client=client)


def test_an_unreachable_service_is_an_error() -> None:
    with pytest.raises(ConfigError, match="start it with `driftbell up`, or name its address with --url"):
        send_labels("http://127.0.0.1:9", lines(1))
    with pytest.raises(ConfigError, match="must begin with http://"):
        send_labels("127.0.0.1:8000", lines(1))
