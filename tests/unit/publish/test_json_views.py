"""Both answers as JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tests import degradations as degradations
from tests.degradations import NOON

from driftbell.publish.json_views import check_view, degradation_view
from driftbell.records import Check, CheckKind, Degradation, Judgement, Verdict


def check(degradation: Degradation | None) -> Check:
    judgement = Judgement(degradation.verdict if degradation else Verdict.OK, "both", degradation=degradation)
    return Check("c", NOON, CheckKind.AUTOMATIC, "m", "v", "r", 50, 1, 50, judgement)


def test_a_check_has_both_answers_beside_the_verdict() -> None:
    view = json.loads(json.dumps(check_view(check(degradations.ALARM))))
    assert view["verdict"] == "alarm"
    assert view["drift"] == {"columns": [], "sentence": "No column could be compared."}
    degradation = view["degradation"]
    assert (degradation["verdict"], degradation["sentence"]) == ("alarm", degradations.ALARM.sentence)
    assert (degradation["score"], degradation["rows"]) == (1.8, 1740)
    assert degradation["estimated_loss"] == {"value": 0.042, "low": 0.018, "high": 0.066}
    assert degradation["change_point"] == {
        "time": "2026-01-31T10:20:00+00:00",
        "low": "2026-01-31T09:50:00+00:00",
        "high": "2026-01-31T10:35:00+00:00",
    }
    assert degradation["suspects"][1] == {
        "column": "sepal width (cm)",
        "share": 0.19,
        "description": "",
        "together": [],
    }
    assert degradation["evidence"][4] == {
        "source": "label shift",
        "column": "",
        "score": 0.7,
        "can_alarm": False,
        "note": "",
    }
    assert degradation["performance"]["estimated"] == {"value": 0.911, "low": 0.887, "high": 0.935}
    assert degradation["performance"]["labelled"] == 120
    assert degradation["segment"] == "petal width (cm) above 1.7"
    assert len(degradation["to_label"]) == 50


def test_a_long_list_of_checks_is_without_the_evidence() -> None:
    degradation = check_view(check(degradations.ALARM), brief=True)["degradation"]
    assert degradation.keys() == {
        "verdict",
        "sentence",
        "needs_labels",
        "score",
        "estimated_loss",
        "change_point",
        "suspects",
    }


@pytest.mark.parametrize("brief", [True, False])
def test_missing_values_are_null(brief: bool) -> None:
    assert check_view(check(None), brief=brief)["degradation"] is None
    view = degradation_view(replace(degradations.UNKNOWN), brief=brief)
    assert view
    assert (view["verdict"], view["estimated_loss"], view["change_point"]) == ("unknown", None, None)
