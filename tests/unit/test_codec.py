"""What older releases wrote is still read."""

import json
from datetime import UTC, datetime
from typing import Any

import numpy as np

from driftbell.compare import compare
from driftbell.judge import judge
from driftbell.log.codec import check_from_json, check_to_json
from driftbell.records import Check, CheckKind, Verdict

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def stored() -> dict[str, Any]:
    cells = np.arange(50.0)
    judgement = judge(compare({"x": cells, "y": cells}, {"x": cells + 90, "y": cells}), rows=50)
    check = Check("id", NOON, CheckKind.AUTOMATIC, "m", "v", "r", 50, 1, 50, judgement)
    return json.loads(json.dumps(check_to_json(check)))


def test_a_check_comes_back_from_json() -> None:
    found = check_from_json(stored())
    assert found.judgement.drifted_columns == ("x",)
    assert json.loads(json.dumps(check_to_json(found))) == stored()


def test_a_column_that_alarmed_in_an_older_release_had_drifted() -> None:
    old = stored()
    for column, verdict in zip(old["judgement"]["columns"], ["alarm", "ok"], strict=True):
        column["verdict"] = verdict
        del column["drifted"]
        for result in column["comparison"]["results"]:
            del result["noise"]
    del old["judgement"]["harm"], old["state"]
    found = check_from_json(old)
    assert found.judgement.drifted_columns == ("x",)
    assert [c.verdict for c in found.judgement.columns] == [Verdict.WARNING, Verdict.OK]
    assert all(r.noise is None for c in found.judgement.columns for r in c.comparison.results)
    assert found.state == {}
