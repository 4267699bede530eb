"""Both answers as JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tests import degradations as harms
from tests.degradations import NOON

from driftbell.publish.json_views import check_shown, harm_shown
from driftbell.records import Check, CheckKind, Harm, Judgement, Verdict


def check(harm: Harm | None) -> Check:
    judgement = Judgement(harm.verdict if harm else Verdict.OK, "both", harm=harm)
    return Check("c", NOON, CheckKind.AUTOMATIC, "m", "v", "r", 50, 1, 50, judgement)


def test_a_check_has_both_answers_beside_the_verdict() -> None:
    shown = json.loads(json.dumps(check_shown(check(harms.ALARM))))
    assert shown["verdict"] == "alarm"
    assert shown["drift"] == {"columns": [], "sentence": "No column could be judged."}
    harm = shown["harm"]
    assert (harm["verdict"], harm["sentence"]) == ("alarm", harms.ALARM.sentence)
    assert (harm["score"], harm["rows"]) == (1.8, 1740)
    assert harm["loss"] == {"value": 0.042, "low": 0.018, "high": 0.066}
    assert harm["since"] == {
        "time": "2026-01-31T10:20:00+00:00",
        "low": "2026-01-31T09:50:00+00:00",
        "high": "2026-01-31T10:35:00+00:00",
    }
    assert harm["suspects"][1] == {"column": "sepal width (cm)", "share": 0.19, "words": ""}
    assert harm["parts"][4] == {
        "name": "label shift",
        "column": "",
        "score": 0.7,
        "pages": False,
        "note": "",
    }
    assert harm["performance"]["estimated"] == {"value": 0.911, "low": 0.887, "high": 0.935}
    assert harm["performance"]["labelled"] == 120
    assert harm["slice"] == "petal width (cm) above 1.7"
    assert len(harm["to_label"]) == 50


def test_a_long_list_of_checks_is_without_the_evidence() -> None:
    harm = check_shown(check(harms.ALARM), brief=True)["harm"]
    assert harm.keys() == {"verdict", "sentence", "score", "loss", "since", "suspects"}


@pytest.mark.parametrize("brief", [True, False])
def test_what_was_not_asked_or_is_not_known_is_null(brief: bool) -> None:
    assert check_shown(check(None), brief=brief)["harm"] is None
    shown = harm_shown(replace(harms.UNKNOWN), brief=brief)
    assert shown
    assert (shown["verdict"], shown["loss"], shown["since"]) == ("unknown", None, None)
