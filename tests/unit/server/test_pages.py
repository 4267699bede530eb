"""The pages, rendered from a store."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from tests import degradations as degradations
from tests.degradations import NOON
from tests.wide import wide_judgement

from driftbell.alarms.lifecycle import alarm_after
from driftbell.publish.column_cards import MAX_CARDS
from driftbell.publish.report_folder import ReportFolder
from driftbell.publish.wording import NOT_ESTIMATED
from driftbell.records import (
    Check,
    CheckKind,
    Columns,
    Degradation,
    Evidence,
    Interval,
    Judgement,
    LimitResult,
    Measure,
    Prediction,
    TargetDrift,
    Verdict,
)
from driftbell.records.versions import CHALLENGER, CHAMPION, AliasChange, ModelVersion
from driftbell.server.api.monitor import MonitorView
from driftbell.server.http.problems import Refused
from driftbell.server.pages import Pages
from driftbell.store.sql import SqlStore
from driftbell.store.sqlite import open_sqlite
from driftbell.tabular.schema import infer_schema
from driftbell.testing import FakeModel

Get = Callable[[str], httpx.Response]


def refuse(columns: Columns) -> np.ndarray:
    raise NotImplementedError


MODEL = FakeModel(infer_schema({"age": np.arange(20.0)}), ("old", "young"), refuse, name="m", inline=False)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqlStore]:
    found = open_sqlite(tmp_path / "log.sqlite")
    yield found
    found.close()


@pytest.fixture
def folder(tmp_path: Path) -> ReportFolder:
    return ReportFolder(tmp_path / "reports", keep=5)


@pytest.fixture
def get(log: SqlStore, folder: ReportFolder) -> Get:
    view = MonitorView(
        log,
        folder,
        served=lambda: MODEL,
        window_rows=500,
        clock=lambda: NOON,
    )
    app = FastAPI()
    app.include_router(Pages(view).router())

    async def answer(path: str) -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get(path)

    return lambda path: asyncio.run(answer(path))


def save(log: SqlStore, degradation: Degradation | None, reports: tuple[str, ...] = (), **parts: Any) -> None:
    lease = log.coordination.take_lease("test", now=NOON, seconds=60, next_run=None)
    assert lease
    judgement = Judgement(
        degradation.verdict if degradation else Verdict.OK, "Both answers.", degradation=degradation, **parts
    )
    check = Check("c", NOON, CheckKind.AUTOMATIC, MODEL.name, MODEL.version, "r", 50, 1, 50, judgement)
    check = replace(check, reports=reports)
    log.checks.save(check, lease, None, alarm_after(check, None))


def test_without_a_check_the_page_has_no_degradation_block(get: Get) -> None:
    assert "Does the model perform worse?" not in get("/").text


@pytest.mark.parametrize(
    ("degradation", "text"),
    [
        (degradations.ALARM, degradations.ALARM.sentence),
        (degradations.ALARM, "Label these 50 predictions"),
        (degradations.ALARM, 'href="/monitor/alarms/c/label-sheet"'),
        (degradations.OK, degradations.OK.sentence),
        (degradations.UNKNOWN, "unknown"),
        (None, NOT_ESTIMATED),
    ],
)
def test_the_first_page_answers_whether_the_model_performs_worse(
    get: Get, log: SqlStore, degradation: Degradation | None, text: str
) -> None:
    save(log, degradation)
    page = get("/").text
    block = page.split("Does the model perform worse?")[1].split("The last hour")[0]
    assert text in block
    assert not re.search(r"\sstyle=", block)
    assert ".degradation h2" in page.split("</head>")[0], "the style of the block"


def test_the_first_page_shows_limits_and_the_labels_of_the_window(get: Get, log: SqlStore) -> None:
    limits = (
        LimitResult("<age>", Measure.MAX, 120, 999, True, "largest value 999, limit 120"),
        LimitResult("city", Measure.NULL_SHARE, 0.1, None, None, "null_share, no value"),
    )
    target = TargetDrift(0.55, 0.4, 1e-9, {"no": 80, "yes": 20}, {"no": 10, "yes": 30}, "no 80.0% → 25.0%")
    save(log, degradations.OK, limits=limits, target_drift=target)
    page = get("/").text
    block = page.split("Your limits")[1].split("The last hour")[0]
    assert "&lt;age&gt;.max" in block
    assert block.index("exceeded</b>") < block.index("not judged</b>")
    assert "exceeded</b> largest value 999, limit 120</td>" in block
    labels = page.split("Labels of the window")[1].split("</section>")[0]
    assert "distance 0.550 from the reference, p-value &lt; 0.0001; no 80.0% → 25.0%." in labels
    assert '<tr><th scope="row">yes</th><td>20 (20 %)</td><td>30 (75 %)</td></tr>' in labels


def test_without_limits_and_labels_the_first_page_names_neither(get: Get, log: SqlStore) -> None:
    save(log, degradations.OK)
    page = get("/").text
    assert "Your limits" not in page
    assert "Labels of the window" not in page


def test_the_page_as_json_has_the_same_answer(get: Get, log: SqlStore) -> None:
    save(log, degradations.ALARM)
    found = get("/index.json").json()
    assert found["status"]["last_check"]["degradation"]["evidence"]
    assert found["checks"][0]["degradation"]["sentence"] == degradations.ALARM.sentence


def test_the_list_of_checks_shows_the_headline_of_an_alarm(get: Get, log: SqlStore) -> None:
    save(log, degradations.ALARM)
    listed = get("/").text.split("Last checks")[1]
    assert "The model probably performs worse: accuracy 95.3 % → 91.1 %." in listed
    assert "petal length" not in listed


def test_the_own_report_comes_before_the_one_of_evidently(
    get: Get, log: SqlStore, folder: ReportFolder
) -> None:
    names = folder.save({"drift_report": b"1", "driftbell_report": b"2"}, time=NOON, manual=False)
    save(log, degradations.ALARM, names)
    page = get("/").text
    assert '<a href="/reports/driftbell_report_20260131_120000.html">open the report</a>' in page
    listed = page.split("Last checks")[1]
    assert listed.index(">driftbell</a>") < listed.index(">Evidently</a>")
    last = get("/index.json").json()["status"]["last_check"]
    assert last["reports"][0] == "/reports/driftbell_report_20260131_120000.html"
    reports = get("/reports/").text
    newest = '<a href="/reports/driftbell_report_latest.html">The newest report</a>'
    assert reports.index(newest) < reports.index("/reports/drift_report_latest.html")


def test_without_evidently_the_only_report_is_linked(get: Get, log: SqlStore, folder: ReportFolder) -> None:
    save(log, degradations.ALARM, folder.save({"drift_report": b"1"}, time=NOON, manual=False))
    assert '<a href="/reports/drift_report_20260131_120000.html">open the report</a>' in get("/").text
    assert '<a href="/reports/drift_report_latest.html">The newest report</a>' in get("/reports/").text


def test_an_alarm_without_a_known_loss_shows_no_number(get: Get, log: SqlStore) -> None:
    save(log, replace(degradations.ALARM, estimated_loss=Interval(-0.056, -0.076, -0.036)))
    page = get("/").text
    assert "performs worse: accuracy" not in page
    assert "<dt>Estimated loss</dt><dd>unknown</dd>" in page
    assert get("/index.json").json()["status"]["last_check"]["degradation"]["estimated_loss"] is None


def test_the_page_says_that_an_alarm_is_open_which_the_last_check_cannot_judge(
    get: Get, log: SqlStore
) -> None:
    save(log, degradations.ALARM)
    assert "is still open" not in get("/").text
    lease = log.coordination.take_lease("test", now=NOON, seconds=60, next_run=None)
    assert lease
    evidence = (Evidence("estimate", "", 0.1),)
    unknown = replace(degradations.UNKNOWN, sentence="Cannot tell whether it does.", evidence=evidence)
    judgement = Judgement(Verdict.WARNING, unknown.sentence, degradation=unknown)
    later = NOON + timedelta(minutes=5)
    check = Check("d", later, CheckKind.AUTOMATIC, MODEL.name, MODEL.version, "r", 50, 1, 50, judgement)
    alarm = log.alarms.current(model=MODEL.name, version=MODEL.version)
    log.checks.save(check, lease, None, alarm_after(check, alarm))
    page = get("/").text
    assert "<h1>Cannot tell whether the model performs worse.</h1>" in page
    assert f'The alarm of <time datetime="{NOON.isoformat()}">' in page
    assert "is still open: this check cannot judge whether it is over." in page


def test_the_list_of_reports_shows_the_verdict_and_the_version(get: Get, folder: ReportFolder) -> None:
    folder.save({"drift_report": b"1"}, time=NOON, manual=False)
    report = {"drift_report": b"2"}
    folder.save(report, time=NOON, manual=True, verdict=Verdict.ALARM, version="v1 --><b>")
    page = get("/reports/").text
    _, newest, other = page.split('<td class="name">')
    assert '<span class="badge alarm">▲ alarm</span>' in newest
    assert "<td>v1 --&gt;&lt;b&gt;</td>" in newest
    assert "badge" not in other
    assert "scheduled" not in page
    reports = get("/reports.json").json()["reports"]
    assert [(r["verdict"], r["version"]) for r in reports] == [("alarm", "v1 --><b>"), (None, None)]


def test_the_runbook_formats_commands_and_settings_as_code(get: Get) -> None:
    page = get("/runbook").text
    for code in ("alarms.smallest_loss", "log.on_failure", "/predict", "/predict/batch"):
        assert f"<code>{code}</code>" in page
    assert "`" not in page


def test_one_version_has_no_table_of_versions(get: Get, log: SqlStore) -> None:
    save(log, degradations.OK)
    page = get("/").text
    assert "<h2>Versions</h2>" not in page
    [version] = get("/index.json").json()["status"]["versions"]
    assert (version["version"], version["role"], version["share"]) == (MODEL.version, "champion", None)


def test_the_page_says_that_the_last_challenge_was_rolled_back(get: Get, log: SqlStore) -> None:
    save(log, degradations.OK)
    assert "rolled back" not in get("/").text
    end = AliasChange(MODEL.name, CHALLENGER, None, NOON, "monitor", "v2 < v1.", "v1", is_rollback=True)
    log.versions.set_alias(end)
    assert "The last challenge was rolled back" in get("/").text
    assert "v2 &lt; v1." in get("/").text
    log.versions.set_alias(AliasChange(MODEL.name, CHALLENGER, "v2", NOON, "ada", "", "v1", 0.1))
    assert "rolled back" not in get("/").text


def test_versions_in_use_have_a_row_and_a_page_each(get: Get, log: SqlStore) -> None:
    other = "<v1>"
    since = NOON - timedelta(hours=2)
    log.versions.set_alias(AliasChange(MODEL.name, CHAMPION, MODEL.version, since, "ada", "better", other))
    old = NOON - timedelta(hours=3)
    rows = [Prediction(f"p{i}", old, MODEL.name, other, {}, "a", {}, 1.0) for i in range(3)]
    rows.append(Prediction("q", NOON, MODEL.name, MODEL.version, {}, "a", {}, 1.0))
    log.predictions.append(rows)
    save(log, degradations.OK)
    lease = log.coordination.take_lease("test", now=NOON, seconds=60, next_run=None)
    assert lease
    worse = Judgement(Verdict.WARNING, "Its labels show a loss.", degradation=degradations.WARNING)
    log.checks.save(Check("d", old, CheckKind.AUTOMATIC, MODEL.name, other, "r", 3, 1, 3, worse), lease)
    page = get("/").text
    table = page.split("<h2>Versions</h2>")[1].split("</section>")[0]
    assert [word in table for word in ("champion", "replaced", "25 %", "75 %", "&lt;v1&gt;")] == [True] * 5
    assert table.index("champion") < table.index("replaced")
    assert 'href="/?version=%3Cv1%3E"' in table
    assert "Both answers." in page
    chosen = get("/?version=%3Cv1%3E").text
    assert "Version &lt;v1&gt; (replaced)" in chosen
    assert "Its labels show a loss." in chosen
    assert "Both answers." not in chosen
    found = get("/index.json?version=%3Cv1%3E").json()
    assert [check["version"] for check in found["checks"]] == [other]
    by_version = {v["version"]: v for v in found["status"]["versions"]}
    assert by_version[other]["last_check"]["verdict"] == "warning"
    assert by_version[other]["performance"]["labelled"] == 120
    assert by_version[MODEL.version]["since"] == since.isoformat()


def test_an_unknown_version_has_no_page_and_one_without_predictions_an_empty_one(
    get: Get, log: SqlStore
) -> None:
    added = ModelVersion(MODEL.name, "81d0c5e7b2aa", "", {}, (), (), ("a",), "classification", NOON, "ada")
    log.versions.add(added)
    with pytest.raises(Refused) as refused:
        get("/?version=none")
    assert refused.value.status == 404
    assert refused.value.detail.endswith("is named 'none'; the versions, newest first: 81d0c5e7b2aa")
    page = get("/?version=81d0c5e7b2aa")
    assert page.status_code == 200
    assert "81d0c5e7b2aa" in page.text


def save_judgement(log: SqlStore, judgement: Judgement) -> None:
    lease = log.coordination.take_lease("test", now=NOON, seconds=60, next_run=None)
    assert lease
    check = Check("c", NOON, CheckKind.AUTOMATIC, MODEL.name, MODEL.version, "r", 1500, 1, 1500, judgement)
    log.checks.save(check, lease, None, alarm_after(check, None))


def cards_of(page: str) -> list[str]:
    return re.findall(r'<article class="column \w+" id="column-\d+">\s*<h3>(.*?)</h3>', page)


def test_a_page_of_2300_columns_is_small_and_leads_to_each(get: Get, log: SqlStore) -> None:
    save_judgement(log, wide_judgement(2300, drifted=12))
    page = get("/").text
    assert len(page.encode()) < 300_000
    assert len(cards_of(page)) == MAX_CARDS
    assert set(cards_of(page)[:12]) == {f"Sensor {i:04} of line 3 (mm/s)" for i in range(2288, 2300)}
    assert "1 to 30 of 2,300 columns, the drifted first" in page
    assert "and 4 more: 12 of 2,300 columns compared." in page
    links = re.findall(r'<a href="/#column-(\d)">(Sensor \d+ of line 3 \(mm/s\))</a>', page)
    assert [name for _, name in links] == cards_of(page)[:8]
    assert all(f'id="column-{i}">\n      <h3>{name}</h3>' in page for i, name in links)
    assert 'href="/?start=30#columns">Next columns' in page
    assert page.count("columns.js") == 1


def test_columns_are_searched_on_the_first_page(get: Get, log: SqlStore) -> None:
    save_judgement(log, wide_judgement(2300, drifted=12))
    assert cards_of(get("/?column=sensor%201234").text) == ["Sensor 1234 of line 3 (mm/s)"]
    page = get("/?column=LINE&start=60").text
    assert "61 to 90 of 2,300 columns with “LINE” in their names" in page
    assert 'href="/?column=LINE&amp;start=30#columns">Previous' in page
    nothing = get("/?column=%3Cb%3E").text
    assert "No column has “&lt;b&gt;” in its name." in nothing
    assert not cards_of(nothing)
    assert 'value="&lt;b&gt;"' in nothing


def test_a_page_of_few_columns_has_no_search(get: Get, log: SqlStore) -> None:
    save_judgement(log, wide_judgement(5, drifted=1))
    page = get("/").text
    assert cards_of(page)[0] == "Sensor 0004 of line 3 (mm/s)"
    assert len(cards_of(page)) == 5
    assert 'Drift in <a href="/#column-0">Sensor 0004 of line 3 (mm/s)</a>: 1 of 5 columns compared.' in page
    assert "Next columns" not in page
    assert 'type="search"' not in page
    assert "columns.js" not in page


def test_a_long_example_row_is_left_to_a_file(get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    assert """-d '{&#34;age&#34;: 0.0}'""" in get("/").text
    schema = infer_schema({f"feature {i}": np.arange(20.0) for i in range(400)})
    wide = FakeModel(schema, ("old", "young"), refuse, name="m", inline=False)
    monkeypatch.setitem(globals(), "MODEL", wide)
    page = get("/").text
    assert "-d @row.json" in page
    assert "feature 399" not in page
