"""All queries of both dashboards, with Grafana's variables substituted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

FOLDER = Path(__file__).parents[2] / "src/driftbell/ops/dashboards"
NAMES = ("health", "drift")

VALUES = {
    "$__rate_interval": "10s",
    "$__auto": "10s",
    "$job": "driftbell",
    "$model": "",
    "$column": ".+",
    "$distance": "Jensen–Shannon",
    "$level": ".*",
    "$filter": "",
}


class Query(NamedTuple):
    """One expression and its location."""

    where: str
    expression: str


def dashboard(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    return content


def panels(name: str) -> list[dict[str, Any]]:
    """Return the panels, without the headings of rows."""
    return [p for p in dashboard(name)["panels"] if p["type"] != "row"]


def promql() -> list[Query]:
    """Return every PromQL expression of panels, annotations and variables."""
    return [*_of_panels("prometheus"), *_annotations(), *_variables()]


def logql(text: str = "") -> list[str]:
    """Return every LogQL expression, with a text in the log filter."""
    return [
        filled(target["expr"].replace("${filter:percentencode}", quote(text, safe="")))
        for name in NAMES
        for panel in panels(name)
        for target in panel["targets"]
        if target["datasource"]["uid"] == "loki"
    ]


def filled(expression: str) -> str:
    expression = expression.replace("${filter:percentencode}", VALUES["$filter"])
    for name, value in VALUES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression


def _of_panels(datasource: str) -> list[Query]:
    return [
        Query(f"{name}: {panel['title']} {target['refId']}", filled(target["expr"]))
        for name in NAMES
        for panel in panels(name)
        for target in panel["targets"]
        if target["datasource"]["uid"] == datasource
    ]


def _annotations() -> Iterator[Query]:
    for name in NAMES:
        for annotation in dashboard(name)["annotations"]["list"]:
            if "expr" in annotation:
                yield Query(f"{name}: annotation {annotation['name']}", filled(annotation["expr"]))


def _variables() -> Iterator[Query]:
    for name in NAMES:
        for variable in dashboard(name)["templating"]["list"]:
            if variable["type"] == "query":
                match = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["definition"])
                assert match, variable["definition"]
                selector, label = filled(match[1]), match[2]
                yield Query(f"{name}: variable {variable['name']}", f"group by ({label}) ({selector})")
