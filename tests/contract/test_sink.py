"""The contract of `driftbell.ports.Sink`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from tests.contract.builders import check
from tests.offline import no_network

from driftbell.drift.compare import compare
from driftbell.drift.judge import judge
from driftbell.publish.evidently import EvidentlyReport, evidently_available
from driftbell.publish.html_report import HtmlReport
from driftbell.records import Reference, Verdict
from driftbell.tabular.columns import as_columns
from driftbell.testing import RecordingSink

RNG = np.random.default_rng(0)
TABLE = as_columns({"x": RNG.normal(size=200), "city": ["Rome", "Oslo"] * 100})
REFERENCE = Reference(TABLE, {"x": "feature", "city": "feature"}, "r1")
WINDOW = as_columns({"x": RNG.normal(3, 1, size=60), "city": ["Rome", None] * 30})

SINKS = {"recording": RecordingSink, "HTML": HtmlReport, "Evidently": EvidentlyReport}


@pytest.fixture(params=SINKS)
def sink(request: pytest.FixtureRequest) -> Iterator[EvidentlyReport | HtmlReport | RecordingSink]:
    if request.param == "Evidently" and not evidently_available():
        pytest.skip("Evidently is not installed")
    with no_network():
        yield SINKS[request.param]()


def test_a_report_contains_the_sentence_of_the_check(
    sink: EvidentlyReport | HtmlReport | RecordingSink,
) -> None:
    judgement = judge(compare(TABLE, WINDOW), rows=60)
    content = sink.write(check(judgement=judgement), REFERENCE, WINDOW)
    assert isinstance(content, bytes)
    assert b"x" in content


def test_equal_checks_can_be_written_again(sink: EvidentlyReport | HtmlReport | RecordingSink) -> None:
    report = check(verdict=Verdict.OK, judgement=judge(compare(TABLE, TABLE), rows=200))
    assert sink.write(report, REFERENCE, TABLE)
    assert sink.write(report, REFERENCE, TABLE)


def test_inputs_are_not_modified(sink: EvidentlyReport | HtmlReport | RecordingSink) -> None:
    before = {name: column.copy() for name, column in WINDOW.items()}
    sink.write(check(judgement=judge(compare(TABLE, WINDOW), rows=60)), REFERENCE, WINDOW)
    assert all(np.array_equal(before[name].astype(str), WINDOW[name].astype(str)) for name in WINDOW)
