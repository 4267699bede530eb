"""The configurations of Loki, Promtail and Alloy agree with each other and with our log lines."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import yaml

from driftbell import jsonlog

ROOT = Path(__file__).parents[2]
LOKI = ROOT / "deploy/loki/loki-config.yaml"
PROMTAIL = ROOT / "deploy/promtail/promtail-config.yaml"
ALLOY = ROOT / "deploy/alloy/config.alloy"
OVERRIDE = ROOT / "docker-compose.alloy.yaml"

PLAIN = "2026/03/01 10:00:00 [error] 31#31: *1 open() failed"

Node = list[tuple[str, Any]]


class Compose(yaml.SafeLoader):
    """YAML loader for compose files: `!reset` removes a value."""


Compose.add_constructor("!reset", lambda *_: None)


def parsed(file: Path) -> dict[str, Any]:
    return yaml.load(file.read_text("utf-8"), Compose)


def alloy(text: str) -> Node:
    """Parse Alloy's blocks into nested pairs of name and value; a map is a block too."""
    root: Node = []
    open_blocks = [root]
    for line in text.splitlines():
        code = line.strip()
        if not code or code.startswith("//"):
            continue
        if block := re.fullmatch(r'([a-z_.]+)(?: "(\w+)"| =)? \{', code):
            inner: Node = []
            open_blocks[-1].append((" ".join(n for n in block.groups() if n), inner))
            open_blocks.append(inner)
        elif code in ("}", "},"):
            open_blocks.pop()
        else:
            name, _, value = code.partition("=")
            open_blocks[-1].append((name.strip(), alloy_value(value.strip().rstrip(","))))
    assert open_blocks == [root], "a block is not closed"
    return root


def alloy_value(text: str) -> Any:
    if text.startswith("`"):
        assert re.fullmatch("`[^`]*`", text)
        return text[1:-1]
    try:
        return json.loads(text)
    except ValueError:
        return text  # an expression, such as loki.write.loki.receiver


def component(name: str) -> Node:
    return dict(alloy(ALLOY.read_text("utf-8")))[name]


def scrape() -> dict[str, Any]:
    (config,) = parsed(PROMTAIL)["scrape_configs"]
    return config


def plain(node: Any) -> Any:
    """Convert Alloy's nested pairs to the shape of Promtail's YAML."""
    if not isinstance(node, list) or not node or not isinstance(node[0], tuple):
        return node
    stages = [{n.removeprefix("stage."): plain(v)} for n, v in node if n.startswith("stage.")]
    rest = {n: plain(v) for n, v in node if not n.startswith("stage.")}
    if set(rest) == {"values"}:  # these two stages have their values in a block of that name
        return rest["values"]
    return {**rest, "stages": stages} if stages else rest


def test_promtail_and_alloy_set_the_same_labels() -> None:
    rules = [plain(rule) for name, rule in component("loki.relabel containers") if name == "rule"]
    assert rules == scrape()["relabel_configs"]
    assert {r["target_label"] for r in rules if "target_label" in r} == {
        "container",
        "container_id",
        "stream",
        "service",
    }


def test_promtail_and_alloy_have_the_same_stages() -> None:
    lines = plain(component("loki.process lines"))
    assert lines["stages"] == scrape()["pipeline_stages"]


def test_promtail_and_alloy_read_the_same_containers_and_push_to_the_same_loki() -> None:
    (docker,) = scrape()["docker_sd_configs"]
    discovery = plain(component("discovery.docker containers"))
    assert [discovery.pop("filter")] == docker.pop("filters")
    assert discovery == docker
    source = plain(component("loki.source.docker containers"))
    assert source["host"] == docker["host"] == "tcp://docker-proxy:2375"
    assert source["targets"] == "discovery.docker.containers.targets"
    assert source["relabel_rules"] == "loki.relabel.containers.rules"
    assert source["forward_to"] == "[loki.process.lines.receiver]"
    (client,) = parsed(PROMTAIL)["clients"]
    endpoint = plain(component("loki.write loki"))["endpoint"]
    assert endpoint["url"] == client["url"]
    assert endpoint["max_backoff_retries"] == client["backoff_config"]["max_retries"] == 0


def test_collectors_push_to_loki_and_skip_their_own_logs() -> None:
    port = parsed(LOKI)["server"]["http_listen_port"]
    (client,) = parsed(PROMTAIL)["clients"]
    assert client["url"] == f"http://loki:{port}/loki/api/v1/push"
    drop = scrape()["relabel_configs"][0]
    assert drop["action"] == "drop"
    services = parsed(OVERRIDE)["services"]
    assert all(re.fullmatch(drop["regex"], name) for name in services)
    assert not re.fullmatch(drop["regex"], "ml_service")


def test_loki_keeps_lines_for_thirty_days_and_in_its_volume() -> None:
    loki = parsed(LOKI)
    assert loki["limits_config"]["retention_period"] == f"{30 * 24}h"
    assert loki["limits_config"]["allow_structured_metadata"] is True
    assert loki["compactor"]["retention_enabled"] is True
    (schema,) = loki["schema_config"]["configs"]
    assert loki["compactor"]["delete_request_store"] == schema["object_store"] == "filesystem"
    assert (schema["store"], schema["schema"], schema["index"]["period"]) == ("tsdb", "v13", "24h")
    assert loki["analytics"]["reporting_enabled"] is False


def test_the_override_replaces_promtail_by_alloy_with_its_file() -> None:
    services = parsed(OVERRIDE)["services"]
    assert services["promtail"] is None
    service = services["alloy"]
    place = service["command"][-1]
    assert f"./{ALLOY.relative_to(ROOT)}:{place}:ro" in service["volumes"]
    storage = next(c for c in service["command"] if c.startswith("--storage.path=")).partition("=")[2]
    assert f"alloy-data:{storage}" in service["volumes"]
    assert "--disable-reporting" in service["command"]
    address = next(c for c in service["command"] if c.startswith("--server.http.listen-addr="))
    assert f"/dev/tcp/127.0.0.1/{address.rpartition(':')[2]} " in service["healthcheck"]["test"][-1]


def test_the_guide_has_the_queries_of_the_contract_and_every_label() -> None:
    guide = (ROOT / "docs/guides/logs.md").read_text("utf-8").replace("\\|", "|")
    for word in ("INFO", "drift", "ERROR"):
        assert f'{{container="ml_service"}} |= "{word}"' in guide
    stages = {name: value for stage in scrape()["pipeline_stages"] for name, value in stage.items()}
    targets = {r["target_label"] for r in scrape()["relabel_configs"] if "target_label" in r}
    for name in targets | stages["labels"].keys() | stages["structured_metadata"].keys():
        assert f"`{name}`" in guide


def level_of(line: str) -> str | None:
    """Return the fields that the pipeline extracts from a line."""
    stages = scrape()["pipeline_stages"]
    settings = {name: value for stage in stages for name, value in stage.items()}
    value = None
    with contextlib.suppress(ValueError):
        value = json.loads(line).get(settings["json"]["expressions"]["level"])
    not_json = re.search(r'!~ "(.*)"$', settings["match"]["selector"])
    assert not_json
    if not re.search(not_json[1].replace("\\\\", "\\"), line):
        for stage in settings["match"]["stages"]:
            if match := re.search(stage["regex"]["expression"], line):
                value = match["level"]
    known = re.findall(r'regexMatch "([^"]+)" \$l }}([A-Z]+)', settings["template"]["template"])
    return next((level for pattern, level in known if value and re.search(pattern, value.upper())), None)


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("INFO:     Application startup complete.", "INFO"),
        ("2026-03-01 10:00:00,123 WARNING root: low", "WARNING"),
        ('level=warn ts=2026-03-01T10:00:00Z caller=main.go:1 msg="x"', "WARNING"),
        ('logger=server lvl="info" msg="HTTP Server Listen"', "INFO"),
        ('level=error msg="was INFO before"', "ERROR"),
        (PLAIN, "ERROR"),
        ("[notice] 1#1: start worker processes", "INFO"),
        ("[DEBUG] x", "DEBUG"),
        ("2026/03/01 10:00:00 [emerg] 1#1: bind() to 0.0.0.0:8080 failed", "ERROR"),
        ("2026/03/01 10:00:00 [alert] 1#1: worker process 31 exited on signal 9", "ERROR"),
        ("2026/03/01 10:00:00 [crit] 31#31: *1 SSL_do_handshake() failed", "ERROR"),
        ("2026-03-01 10:00:00.000 UTC [1] PANIC:  could not write to file", "ERROR"),
        ("2026-03-01 10:00:00.000 UTC [1] FATAL:  terminating connection", "ERROR"),
        ("2026-03-01 10:00:00.000 UTC [1] LOG:  checkpoint starting", "INFO"),
        ("2026-03-01 10:00:00.000 UTC [1] DEBUG1:  found", "DEBUG"),
        ("level=panic msg=x", "ERROR"),
        ('{"level":"PANIC"}', "ERROR"),
        ('{"level":"dpanic"}', "ERROR"),
        ('{"level":"eror","lvl":"error"}', None),
        ("an alert about an emerging PANICKED word", None),
        ('{"level":"critical","event":"x"}', "ERROR"),
        ('{"level":"trace"}', "DEBUG"),
        ('{"level":"mine","event":"an ERROR in a message"}', None),
        ('{"event":"an ERROR in a message"}', None),
        ("INFORMATION is no level, nor is an error", None),
        ("a line that has no level, errors or not", None),
        ("", None),
    ],
)
def test_levels_are_parsed(line: str, level: str | None) -> None:
    assert level_of(line) == level


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Yield the log lines of this process, and restore logging afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    buffer = io.StringIO()
    structlog.reset_defaults()
    jsonlog.configure(buffer, level="DEBUG")
    yield buffer
    logging.captureWarnings(False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers, root.level = handlers, level


def test_log_lines_of_driftbell_have_the_fields_of_the_pipeline(stream: io.StringIO) -> None:
    structlog.contextvars.bind_contextvars(request_id="abc", trace_id="0af7")
    log = structlog.get_logger()
    for write in (log.debug, log.info, log.warning, log.error, log.critical):
        write("drift", rows=3)
    lines = stream.getvalue().splitlines()
    assert [level_of(line) for line in lines] == ["DEBUG", "INFO", "WARNING", "ERROR", "ERROR"]
    stages = {name: value for stage in scrape()["pipeline_stages"] for name, value in stage.items()}
    keys = set(stages["json"]["expressions"].values())
    assert all(keys <= json.loads(line).keys() for line in lines)
    assert stages["timestamp"]["format"] == "RFC3339Nano"
    moment = json.loads(lines[0])[stages["timestamp"]["source"]]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", moment)
