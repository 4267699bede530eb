"""The dashboards work in any Grafana and use only documented metrics and labels."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest
import yaml
from tests.stack.queries import FOLDER, NAMES, VALUES, dashboard, logql, panels, promql

ROOT = Path(__file__).parents[2]
PROVISIONING = ROOT / "deploy/grafana/provisioning"
METRICS = (ROOT / "docs/reference/metrics.md").read_text("utf-8")
TITLES = {"driftbell-health": "ML Service Health", "driftbell-drift": "Model Drift"}
LABELS = {"table", "logs", "text", "row"}
"""Panel types without a unit."""


def expressions(name: str) -> list[str]:
    result = [t["expr"] for p in panels(name) for t in p["targets"]]
    annotations = [a["expr"] for a in dashboard(name)["annotations"]["list"] if "expr" in a]
    return [*result, *annotations]


def uids(value: Any) -> set[str]:
    """Return all datasource uids in a dashboard."""
    if isinstance(value, dict):
        own = {value["datasource"]["uid"]} if isinstance(value.get("datasource"), dict) else set()
        return own.union(*(uids(v) for v in value.values()))
    return set().union(*(uids(v) for v in value)) if isinstance(value, list) else set()


def test_there_are_two_dashboards_with_fixed_names() -> None:
    content = [json.loads(f.read_text("utf-8")) for f in FOLDER.glob("*.json")]
    assert {d["uid"]: d["title"] for d in content} == TITLES


@pytest.mark.parametrize("name", NAMES)
def test_a_dashboard_is_relative_to_now_and_portable(name: str) -> None:
    content = dashboard(name)
    assert content["time"] == {"from": "now-1h", "to": "now"}
    assert content["refresh"] == "10s"
    assert content["tags"] == ["driftbell"]
    assert not {"id", "version", "__inputs", "__requires", "gnetId"} & content.keys()
    assert not re.search(r"\b20\d\d-\d\d-\d\d|\b1[5-9]\d{8,11}\b", json.dumps(content)), "an absolute time"


@pytest.mark.parametrize("name", NAMES)
def test_panels_have_ids_of_their_own_and_do_not_overlap(name: str) -> None:
    content = dashboard(name)["panels"]
    ids = [p["id"] for p in content]
    assert len(set(ids)) == len(ids)
    places = [(p["title"], p["gridPos"]) for p in content]
    for title, at in places:
        assert at["x"] + at["w"] <= 24, title
    for (a, one), (b, two) in itertools.combinations(places, 2):
        apart = (
            one["x"] + one["w"] <= two["x"]
            or two["x"] + two["w"] <= one["x"]
            or one["y"] + one["h"] <= two["y"]
            or two["y"] + two["h"] <= one["y"]
        )
        assert apart, f"{a} lies on {b}"


@pytest.mark.parametrize("name", NAMES)
def test_every_panel_has_a_description_and_a_unit(name: str) -> None:
    for panel in panels(name):
        assert panel["title"]
        assert len(panel["description"]) > 20, panel["title"]
        assert panel["targets"], panel["title"]
        assert len({t["refId"] for t in panel["targets"]}) == len(panel["targets"])
        defaults = panel["fieldConfig"]["defaults"]
        named = panel["type"] in LABELS or defaults["mappings"] or panel["options"].get("textMode") == "name"
        assert named or defaults["unit"] not in ("", "none"), panel["title"]


@pytest.mark.parametrize("name", NAMES)
def test_datasources_are_the_provisioned_ones(name: str) -> None:
    provisioned = yaml.safe_load((PROVISIONING / "datasources/driftbell.yaml").read_text("utf-8"))
    known = {d["uid"] for d in provisioned["datasources"]}
    assert {"prometheus", "loki"} <= known
    assert uids(dashboard(name)) <= {*known, "-- Grafana --"}
    for panel in panels(name):
        assert {t["datasource"]["uid"] for t in panel["targets"]} == {panel["datasource"]["uid"]}


@pytest.mark.parametrize("name", NAMES)
def test_rates_follow_the_scrape_interval(name: str) -> None:
    for expression in expressions(name):
        for function, window in re.findall(r"\b(i?rate|increase|delta)\(.*?\[(.*?)\]", expression):
            assert (function, window) == (function, "$__rate_interval"), expression
        assert expression.count("[") == len(re.findall(r"\[\$__(?:rate_interval|auto)\]", expression))


@pytest.mark.parametrize("name", NAMES)
def test_variables_are_declared_and_used(name: str) -> None:
    content = dashboard(name)
    declared = {v["name"] for v in content["templating"]["list"]}
    text = json.dumps({k: v for k, v in content.items() if k != "templating"})
    used = set(re.findall(r"\$\{?(\w+)", text))
    builtin = {n for n in used if n.startswith("__")}
    assert used - builtin <= declared
    assert declared <= used
    assert "report_url" in declared
    assert {f"${n}" for n in declared - {"report_url"}} <= VALUES.keys()


@pytest.mark.parametrize("name", NAMES)
def test_dashboards_link_to_each_other_and_to_the_reports(name: str) -> None:
    content = dashboard(name)
    urls = {link["url"] for link in content["links"]}
    other = next(uid for uid in TITLES if uid != content["uid"])
    assert urls == {f"/d/{other}", "${report_url:raw}"}
    report = next(v for v in content["templating"]["list"] if v["name"] == "report_url")
    assert report["type"] == "textbox"
    assert report["query"] == "http://localhost:8080/drift_report_latest.html"


def test_every_metric_in_a_query_is_documented() -> None:
    # a histogram's and a summary's series have a suffix that the documented name has not
    documented = {
        n + s for n in re.findall(r"`(driftbell_\w+)`", METRICS) for s in ("", "_bucket", "_sum", "_count")
    }
    used = {n for q in promql() for n in re.findall(r"\b(?:driftbell_\w+|up\b)", q.expression)}
    assert len(used) > 20
    assert used <= documented | {"up"}


def test_every_label_in_a_query_is_documented() -> None:
    labels = {
        name: set(re.findall(r"\w+", text))
        for name, text in re.findall(r"^\| `(driftbell_\w+)` \| \w+;? ?([^|]*) \|", METRICS, re.MULTILINE)
    }
    assert labels["driftbell_evidence"] == {"source", "column", "can_alarm"}
    of_all = {"job", "instance", "le", "model"}  # the last of further models
    for query in promql():
        names = {
            re.sub("_(bucket|sum|count)$", "", n) for n in re.findall(r"driftbell_\w+", query.expression)
        }
        known = of_all.union(*(labels[name] for name in names))
        grouped = re.findall(r"\bby \(([^)]*)\)", query.expression)
        selected = re.findall(r"\{([^}]*)\}", query.expression)
        used = {n for text in grouped for n in re.findall(r"\w+", text)}
        used |= {n for text in selected for n in re.findall(r"(\w+)=", text)}
        assert used <= known, query.where


def test_every_documented_metric_is_on_a_dashboard() -> None:
    used = " ".join(q.expression for q in promql())
    table = re.findall(r"^\| `(driftbell_\w+)`", METRICS, re.MULTILINE)
    assert len(table) > 20
    assert [n for n in table if n not in used] == []


def test_every_query_selects_the_chosen_service() -> None:
    for query in promql():
        selectors = re.findall(r"\b(?:driftbell_\w+|up)(\{[^}]*\})?", query.expression)
        assert selectors, query.where
        if "variable job" not in query.where:
            assert all('job="driftbell"' in s for s in selectors), query.where


@pytest.mark.parametrize("expression", logql())
def test_log_queries_select_the_service_and_are_well_formed(expression: str) -> None:
    assert '{container="ml_service"' in expression
    quoted = re.sub(r'"[^"]*"|`[^`]*`', "", expression)
    assert '"' not in quoted
    assert "`" not in quoted
    for opening, closing in ("()", "[]", "{}"):
        assert quoted.count(opening) == quoted.count(closing)
    stream = r'\{container="ml_service", level=~"\.\*"\}'
    contains = r'label_format match=`\{\{ contains \(urldecode "[\w.~%-]*"\) __line__ \}\}`'
    lines = rf'{stream} \| {contains} \| match="true" \| drop match'
    assert re.fullmatch(rf"(?:sum by \(level\) \(count_over_time\()?{lines}(?: \[10s\]\)\))?", expression)


@pytest.mark.parametrize("text", ["`", '"', "\\d \\", "100 % + 1", "'}} | x", "größe"])
def test_any_text_in_the_log_filter_gives_a_well_formed_query(text: str) -> None:
    for expression in logql(text):
        test_log_queries_select_the_service_and_are_well_formed(expression)
        (encoded,) = re.findall(r'urldecode "([^"]*)"', expression)
        assert unquote_plus(encoded) == text  # as Loki's urldecode does


def test_the_live_logs_can_be_filtered_by_text_and_level() -> None:
    (logs,) = [p for p in panels("health") if p["type"] == "logs"]
    expression = logs["targets"][0]["expr"]
    assert expression.startswith('{container="ml_service", level=~"$level"} |')
    assert "${filter:percentencode}" in expression


@pytest.mark.parametrize("name", NAMES)
def test_marks_cover_the_whole_step_of_a_graph(name: str) -> None:
    # with a fixed window, marks between the points of a graph over days would not be seen
    marks = [a["expr"] for a in dashboard(name)["annotations"]["list"] if "expr" in a]
    assert len(marks) == 2
    for expression in marks:
        assert re.findall(r"_over_time\([^\[]*\[(.*?)\]", expression)
        assert not re.search(r"offset (?!\$__rate_interval)", expression)


def test_colors_distinguish_verdicts() -> None:
    expected = {"ok": "green", "warning": "yellow", "alarm": "red", "unknown": "blue"}
    verdicts = [
        p["fieldConfig"]["defaults"]
        for name in NAMES
        for p in panels(name)
        if p["title"].startswith("Verdict")
    ]
    assert len(verdicts) == 4
    for defaults in verdicts:
        (mapping,) = defaults["mappings"]
        colors = {m["text"]: m["color"] for m in mapping["options"].values()}
        assert colors.pop("cannot tell", "orange") == "orange"  # of the performance alone
        assert colors == expected
        first = defaults["thresholds"]["steps"][0]
        assert first["value"] is None
        assert first["color"] not in expected.values(), "without data nothing is good"


def test_dashboards_are_provisioned_into_their_folder() -> None:
    text = (PROVISIONING / "dashboards/driftbell.yaml").read_text("utf-8")
    (provider,) = yaml.safe_load(text)["providers"]
    assert (provider["folder"], provider["folderUid"]) == ("driftbell", "driftbell")
    assert provider["options"]["path"] == "/etc/grafana/dashboards"
