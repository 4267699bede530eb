"""Refused rows in checks: since the last check, in every place that shows a check."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

from structlog.testing import capture_logs
from tests.unit.monitor.test_check import NOON, checker, lease, log, predictions

from driftbell.monitor.check import Checker
from driftbell.publish.html_report import HtmlReport
from driftbell.publish.json_views import check_view
from driftbell.publish.report_folder import OWN_REPORT
from driftbell.records import CheckKind, Lease, Refusal, RefusalCause, Verdict
from driftbell.store.check_json import check_from_json, check_to_json

__all__ = ["checker", "lease", "log"]

SERVED = {"model": "m", "version": "v1"}
WIEN = Refusal("city", "unknown_category", "Wien", 4, 4)


def test_refused_rows_are_a_warning_with_field_and_value_and_count_once(
    checker: Checker, lease: Lease
) -> None:
    checker.store.predictions.append(predictions(100))
    checker.store.refusals.add([WIEN], NOON, **SERVED)
    with capture_logs() as lines:
        check = checker(CheckKind.AUTOMATIC, "12:00", lease)
    assert check.judgement.verdict is Verdict.WARNING
    sentence = (
        "4 of 104 rows since the last check were refused and not logged: 'city' has the unknown value "
        "'Wien' in 4 of them."
    )
    assert check.judgement.sentence.endswith(sentence)
    assert check.judgement.refused is not None
    assert check.judgement.refused.causes == (RefusalCause("city", "unknown_category", "Wien", 1, 4),)
    assert check_from_json(json.loads(json.dumps(check_to_json(check)))) == check
    view = json.loads(json.dumps(check_view(check)))["refused"]
    assert (view["rows"], view["predictions"], view["exceeded"]) == (4, 100, True)
    (line,) = [line for line in lines if line["event"] == "drift check"]
    assert (line["log_level"], line["refused_rows"]) == ("warning", 4)
    assert "'city' has an unknown value in 4 of them" in line["sentence"]
    assert "Wien" not in str(line)
    again = checker(CheckKind.AUTOMATIC, "12:05", lease)
    assert (again.judgement.verdict, again.judgement.refused) == (Verdict.OK, None)


def test_refused_rows_of_several_days_count_since_the_last_check(checker: Checker, lease: Lease) -> None:
    checker.store.predictions.append(predictions(100))
    checker.store.refusals.add([WIEN], NOON, **SERVED)
    checker(CheckKind.AUTOMATIC, "12:00", lease)
    checker.store.refusals.add([WIEN], NOON + timedelta(hours=1), **SERVED)
    checker.store.refusals.add([WIEN], NOON + timedelta(days=1), **SERVED)
    checker.store.predictions.append(predictions(10, start=200))
    tomorrow = replace(checker, clock=lambda: NOON + timedelta(days=1))
    refused = tomorrow(CheckKind.AUTOMATIC, "the next day", lease).judgement.refused
    assert refused is not None
    assert (refused.rows, refused.predictions) == (8, 10)


def test_if_every_row_is_refused_the_check_is_a_warning_and_not_unknown(
    checker: Checker, lease: Lease
) -> None:
    checker.store.refusals.add([WIEN], NOON, **SERVED)
    judgement = checker.preview().check.judgement
    assert judgement.verdict is Verdict.WARNING
    assert "4 of 4 rows since the last check were refused" in judgement.sentence
    assert checker(CheckKind.AUTOMATIC, "12:00", lease).judgement.refused == judgement.refused


def test_refused_rows_are_in_the_html_report(checker: Checker, lease: Lease) -> None:
    checker.store.predictions.append(predictions(100))
    hostile = Refusal("city", "unknown_category", "<script>", 1, 1)
    checker.store.refusals.add([WIEN, hostile], NOON, **SERVED)
    reporting = replace(checker, sinks={OWN_REPORT: HtmlReport()})
    check = reporting(CheckKind.AUTOMATIC, "12:00", lease)
    page = (checker.folder.path / check.reports[0]).read_text()
    assert "<h2>Refused rows</h2>" in page
    assert "5 of 105 rows since the last check" in page
    assert "<script>" not in page.partition("Refused rows</h2>")[2]


def test_the_share_that_is_a_warning_is_a_setting(checker: Checker, lease: Lease) -> None:
    checker.store.predictions.append(predictions(100))
    checker.store.refusals.add([WIEN], NOON, **SERVED)
    judgement = replace(checker, refused_share=0.05)(CheckKind.AUTOMATIC, "12:00", lease).judgement
    assert judgement.verdict is Verdict.OK
    assert judgement.refused is not None
    assert judgement.refused.limit == 0.05
