"""The content and the storage of archive files."""

from __future__ import annotations

import builtins
import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import pytest
from pyarrow import parquet

from driftbell.config.settings import load
from driftbell.errors import ArchiveError, ConfigError
from driftbell.monitor.archive_files import LocalFiles, ObjectFiles, open_archive
from driftbell.monitor.archive_rows import read_rows
from driftbell.monitor.retention import parquet_of
from driftbell.records import ArchivedPrediction, Kind, Prediction, Value
from driftbell.wiring.monitor import archive_files

NOW = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
PREDICTION = Prediction("1", NOW, "m", "v", {"x": 1.0}, "yes", {"yes": 1.0}, 2.0)


def table_of(*rows: ArchivedPrediction, **kinds: Kind) -> Any:
    return parquet.read_table(io.BytesIO(parquet_of(rows, kinds)))


def test_the_type_of_a_column_follows_its_values() -> None:
    features: list[dict[str, Value]] = [
        {"number": 1, "flag": True, "text": "a", "mixed": 1.0, "none": None, "half": "\ud800"},
        {"number": 2.5, "flag": None, "text": None, "mixed": "b"},
    ]
    rows = [ArchivedPrediction(replace(PREDICTION, features=f)) for f in features]
    table = table_of(*rows, none=Kind.NUMERIC)
    types = {name: str(table.schema.field(name).type) for name in features[0]}
    assert types == {
        "number": "double",
        "flag": "bool",
        "text": "string",
        "mixed": "string",
        "none": "double",
        "half": "string",
    }
    assert table["mixed"].to_pylist() == ["1.0", "b"]
    assert table["half"].to_pylist() == ["?", None]
    assert table["number"].to_pylist() == [1.0, 2.5]


def test_metadata_are_a_column_of_json() -> None:
    rows = [PREDICTION, replace(PREDICTION, metadata={"shop": "Zürich", "n": 3})]
    table = table_of(*map(ArchivedPrediction, rows))
    assert table["metadata"].to_pylist() == [None, '{"shop": "Zürich", "n": 3}']


def test_a_feature_with_a_reserved_name_is_renamed() -> None:
    names = ["id", "label", "model", "date", "metadata", "probability of yes"]
    table = table_of(ArchivedPrediction(replace(PREDICTION, features=dict.fromkeys(names, 7.0))))
    assert [table[f"feature {name}"][0].as_py() for name in names] == [7.0] * 6
    assert table["id"].to_pylist() == ["1"]


def test_a_renamed_feature_replaces_no_other() -> None:
    features = {"id": 1.0, "feature id": 2.0, "feature feature id": 3.0}
    table = table_of(ArchivedPrediction(replace(PREDICTION, features=features)))
    assert [table[name][0].as_py() for name in table.column_names if "feature" in name] == [1.0, 2.0, 3.0]


def test_rows_are_read_as_they_were_logged() -> None:
    features: dict[str, Value] = {"label": 1.0, "feature label": "a", "date": True, "x": None}
    first = replace(PREDICTION, features=features, probabilities={"yes": 0.75, "no": 0.25})
    rows = [ArchivedPrediction(replace(first, time=NOW + timedelta(days=d))) for d in range(3)]
    period = NOW + timedelta(days=1), NOW + timedelta(days=2)
    read = partial(read_rows, parquet_of(rows, {}), "x.parquet", [*features, "absent"])
    page = read(["yes", "no"], *period)
    assert list(page.features) == [features]
    assert list(page.probabilities) == [{"yes": 0.75, "no": 0.25}]
    assert list(page.outputs) == [PREDICTION.output]
    assert len(read(["other"], *period)) == 1
    assert len(read([], NOW, NOW)) == 0
    with pytest.raises(ArchiveError, match=r"cannot read x\.parquet: it is no archive file"):
        read_rows(b"nothing", "x.parquet", [], [], *period)


def test_equal_rows_are_serialized_to_equal_bytes() -> None:
    rows = [ArchivedPrediction(PREDICTION, "yes", NOW)]
    assert parquet_of(rows, {}) == parquet_of(rows, {})


def test_a_local_file_is_written_atomically(tmp_path: Path) -> None:
    files = open_archive(str(tmp_path / "a"))
    assert isinstance(files, LocalFiles)
    files.put("model=m/x.parquet", b"one")
    files.put("model=m/x.parquet", b"two")
    assert [p.name for p in (tmp_path / "a/model=m").iterdir()] == ["x.parquet"]
    assert (tmp_path / "a/model=m/x.parquet").read_bytes() == files.get("model=m/x.parquet") == b"two"
    with pytest.raises(ArchiveError, match=r"cannot read .*y\.parquet"):
        files.get("model=m/y.parquet")
    assert isinstance(open_archive(f"file://{tmp_path}"), LocalFiles)
    (tmp_path / "b").write_text("in the way")
    with pytest.raises(ArchiveError, match="cannot write"):
        open_archive(str(tmp_path / "b")).put("x.parquet", b"")


def test_an_object_is_written_in_one_request() -> None:
    files = open_archive("memory://bucket/prefix/")
    assert isinstance(files, ObjectFiles)
    files.put("model=m/x.parquet", b"one")
    assert fsspec.filesystem("memory").cat_file("/bucket/prefix/model=m/x.parquet") == b"one"
    assert files.get("model=m/x.parquet") == b"one"
    with pytest.raises(ArchiveError, match=r"cannot read .*y\.parquet: FileNotFoundError"):
        files.get("model=m/y.parquet")


def test_an_error_of_the_object_store_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    files = open_archive("memory://bucket")

    def refuse(*_: object) -> None:
        raise PermissionError("no")

    monkeypatch.setattr(fsspec.filesystem("memory"), "pipe_file", refuse)
    with pytest.raises(ArchiveError, match=r"x\.parquet: PermissionError: no"):
        files.put("x.parquet", b"one")


@pytest.mark.parametrize("url", ["nothing://bucket", "s3://bucket", "ftp://127.0.0.1:1/folder"])
def test_an_archive_that_cannot_be_opened_fails_at_the_start(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing("s3fs", monkeypatch)
    with pytest.raises(ConfigError, match=r"retention\.archive cannot be used"):
        open_archive(url)


@pytest.mark.parametrize(("package", "place"), [("pyarrow", "somewhere"), ("fsspec", "memory://bucket")])
def test_a_missing_package_is_named(package: str, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    missing(package, monkeypatch)
    with pytest.raises(ConfigError, match=r"pip install 'driftbell\[archive\]'"):
        open_archive(place)


def missing(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any) -> Any:
        if name.partition(".")[0] == package:
            raise ImportError(f"no {package}")
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)


def test_an_archive_requires_retention_days() -> None:
    settings = load(environment={}, overrides={"retention.archive": "somewhere"}).settings
    with pytest.raises(ConfigError, match=r"retention\.days is not"):
        archive_files(settings)
    settings = load(environment={}, overrides={"retention.archive": "a", "retention.days": 90}).settings
    assert isinstance(archive_files(settings), LocalFiles)
    assert archive_files(load(environment={}).settings) is None
