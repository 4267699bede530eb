"""Files of profiles are the same for the same table, hold no rows, and are checked when they are read."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import driftbell
from driftbell import TableProfile
from driftbell.errors import ConfigError


def table(rows: int = 300) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    start = datetime(2026, 1, 1, 8, 17, 23, 456, tzinfo=UTC)
    return {
        "amount": rng.lognormal(size=rows).tolist(),
        "city": [["Rome", "Oslo", "Bern"][i % 3] for i in range(rows - 1)] + ["Llanfairpwll"],
        "vip": [i % 7 == 0 for i in range(rows)],
        "time": [
            start + timedelta(hours=int(h), seconds=i) for i, h in enumerate(rng.integers(0, 900, rows))
        ],
        "note": [f"Jane Doe {i} called about order {i * 7919 % 1000}" for i in range(rows)],
        "id": [f"key-{i * 7919 % 100_003}" for i in range(rows)],
        "tags": [["a"]] * rows,
        "nothing": [None] * rows,
        "count": ["1"] * (rows - 2) + ["lots of them", "2"],
    }


@pytest.fixture
def file(tmp_path: Path) -> Path:
    driftbell.profile(table()).save(tmp_path / "ref.json")
    return tmp_path / "ref.json"


def test_a_profile_is_the_same_after_it_is_saved_and_loaded(file: Path) -> None:
    loaded = TableProfile.load(file)
    assert loaded.to_json() == file.read_text("utf-8") == driftbell.profile(table()).to_json()
    assert loaded.rows == 300
    assert loaded.kinds == {
        "amount": "numeric",
        "city": "categorical",
        "vip": "boolean",
        "time": "datetime",
        "note": "text",
        "id": "identifier",
        "tags": "nested",
        "nothing": None,
        "count": "numeric",
    }


def test_a_file_holds_no_cell_of_a_single_row(file: Path) -> None:
    text = file.read_text("utf-8")
    cells = table()
    for amount in cells["amount"]:
        assert repr(amount) not in text
    for column in ("note", "id"):
        assert not any(cell in text for cell in cells[column])
    for word in ("Llanfairpwll", "Jane", "key-", "lots of them"):
        assert word not in text
    times = json.loads(text)["columns"][3]["times"]
    assert times["oldest"] % 3_600_000_000 == times["newest"] % 3_600_000_000 == 0
    assert "Rome" in text


Change = Callable[[dict[str, Any]], Any]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.update(driftbell_profile=2), "is a profile of version 2, and this driftbell reads 1"),
        (lambda f: f.update(driftbell_profile="1"), "no valid profile"),
        (lambda f: f.update(rows=[]), "unknown field"),
        (lambda f: f.update(columns=[]), "length >= 1"),
        (lambda f: f["options"]["kinds"].update(amount="money"), "a kind in its options is unknown"),
        (lambda f: f["columns"][0].update(rows=10**12), "<= 20000000"),
        (
            lambda f: f["columns"][0].update(rows=299),
            "'city': it has 300 rows, and the first column has 299|add up",
        ),
        (lambda f: f["columns"][0].update(nulls=301), "'amount': it has more nulls than rows"),
        (lambda f: f["columns"][0].update(precision="float128"), "'amount': its precision is unknown"),
        (lambda f: f["columns"][0].update(kind="boolean"), "'amount': its counts are not those of a column"),
        (lambda f: f["columns"][0].update(kind="money"), "no valid profile"),
        (lambda f: f["columns"][0].update(name="city"), "'city': its name is duplicate"),
        (lambda f: f["columns"][0]["numbers"]["counts"].__setitem__(2, -1), ">= 0"),
        (lambda f: f["columns"][0]["numbers"]["counts"].__setitem__(2, 99), "do not add up to its rows"),
        (lambda f: f["columns"][0]["numbers"]["cuts"].reverse(), "its cuts do not increase"),
        (lambda f: f["columns"][0]["numbers"]["means"].__setitem__(2, 1e9), "a mean is outside of its bin"),
        (lambda f: f["columns"][0]["numbers"]["means"].__setitem__(2, None), "has no mean"),
        (lambda f: f["columns"][0]["numbers"]["means"].pop(), "one more interval than cuts"),
        (lambda f: f["columns"][0]["numbers"]["frequent"].append(999), "a frequent cut does not exist"),
        (lambda f: f["columns"][1]["categories"]["groups"].pop(), "it must have 1024 groups"),
        (lambda f: f["columns"][1]["categories"]["names"].update(Rome=301), "do not add up"),
        (lambda f: f["columns"][3]["times"]["hours"].pop(), "length >= 24"),
        (lambda f: f["columns"][3]["times"].update(newest=0), "its oldest time is after the newest"),
        (lambda f: f["columns"][3]["times"].update(newest=None), "its period is missing"),
        (lambda f: f["columns"][4]["texts"]["shares"].pop(), "length >= 5"),
        (lambda f: f["columns"][4]["texts"].update(foreign=301), "do not add up"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(file: Path, change: Change, message: str) -> None:
    content = json.loads(file.read_text("utf-8"))
    change(content)
    file.write_text(json.dumps(content), "utf-8")
    with pytest.raises(ConfigError, match=message) as error:
        TableProfile.load(file)
    assert str(file) in str(error.value)


@pytest.mark.parametrize("length", [30, 200, 3000])
def test_a_file_that_is_cut_off_is_refused(file: Path, length: int) -> None:
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(ConfigError, match="cut off"):
        TableProfile.load(file)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text('[{"a": 1}]')
    with pytest.raises(ConfigError, match="it is no profile: write one with `driftbell profile`"):
        TableProfile.load(tmp_path / "rows.json")
    with pytest.raises(ConfigError, match=r"cannot read .*missing.json: No such file"):
        TableProfile.load(tmp_path / "missing.json")
    deep = tmp_path / "deep.json"
    deep.write_text('{"driftbell_profile":' + "[" * 100_000)
    with pytest.raises(ConfigError, match="no valid"):
        TableProfile.load(deep)


def test_a_file_is_replaced_as_a_whole(file: Path, tmp_path: Path) -> None:
    driftbell.profile({"a": [1, 2, 3]}).save(str(file))
    assert TableProfile.load(file).rows == 3
    assert [p.name for p in tmp_path.iterdir()] == ["ref.json"]
    with pytest.raises(ConfigError, match=r"cannot write .*: No such file"):
        driftbell.profile({"a": [1]}).save(tmp_path / "nowhere" / "ref.json")


def test_a_table_without_rows_has_no_profile() -> None:
    with pytest.raises(ConfigError, match="cannot profile a table without columns or rows"):
        driftbell.profile({"a": []})
