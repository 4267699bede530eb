"""The compose files are valid, pinned, hardened, and follow the contract. No container engine is needed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from tests.stack.servers import DEPLOY, binary, with_service_key

from driftbell.config import settings

ROOT = Path(__file__).parents[2]
PROFILES = ("alerts", "tracing", "tls")
CONTRACT = {
    "ml_service": 8000,
    "prometheus": 9090,
    "loki": 3100,
    "promtail": None,
    "grafana": 3000,
    "report_server": 8080,
}


def tool(name: str) -> str:
    """Return the path of a program that the extra `dev` installs beside this Python."""
    return str(Path(sys.executable).parent / name)


def config(*args: str, **environment: str) -> dict[str, Any]:
    """Return the services that Compose reads from the files."""
    clean = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    done = subprocess.run(
        [tool("docker-compose"), "--env-file", os.devnull, *args, "config", "--format", "json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        env=clean | environment,
    )
    assert done.returncode == 0, done.stderr
    assert "level=warning" not in done.stderr, done.stderr
    return json.loads(done.stdout)


ALL = [f"--profile={p}" for p in PROFILES]
BOTH = ["-f", "docker-compose.yaml", "-f", "docker-compose.alloy.yaml"]
POSTGRES = ["-f", "docker-compose.yaml", "-f", "docker-compose.postgres.yaml"]


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return config(*BOTH, *ALL)["services"] | config(*POSTGRES)["services"] | config(*ALL)["services"]


def test_the_default_services_are_those_of_the_contract() -> None:
    compose = config()
    assert set(compose["services"]) == {*CONTRACT, "docker-proxy"}
    for name, port in CONTRACT.items():
        published = [int(p["target"]) for p in compose["services"][name].get("ports", [])]
        assert published == ([port] if port else [])
        assert "monitoring" in compose["services"][name]["networks"]
    assert compose["services"]["ml_service"]["container_name"] == "ml_service"
    assert compose["services"]["report_server"]["container_name"] == "report_viewer"
    assert compose["networks"]["monitoring"]["name"] == "monitoring"


def test_the_override_replaces_promtail_by_alloy() -> None:
    assert set(config(*BOTH)["services"]) ^ set(config()["services"]) == {"promtail", "alloy"}


def test_the_override_puts_the_log_into_postgresql() -> None:
    compose = config(*POSTGRES)
    assert set(compose["services"]) - set(config()["services"]) == {"postgres"}
    server, service = compose["services"]["postgres"], compose["services"]["ml_service"]
    assert service["depends_on"]["postgres"]["condition"] == "service_healthy"
    assert {"notification_urls", "log_url"} == {s["source"] for s in service["secrets"]}
    given = service["environment"] | server["environment"]
    assert given["DRIFTBELL_LOG__URL_FILE"] == "/run/secrets/log_url"
    assert given["POSTGRES_PASSWORD_FILE"] == "/run/secrets/postgres_password"
    assert "POSTGRES_PASSWORD" not in given
    assert "ports" not in server
    assert set(server["networks"]) == {"monitoring"}
    # no default: a missing secret must not be guessable
    for name in ("log_url", "postgres_password"):
        assert compose["secrets"][name]["file"] == str(ROOT / "secrets" / name)


@pytest.mark.parametrize("profile", PROFILES)
def test_each_profile_adds_its_services(profile: str) -> None:
    more = {"alerts": {"alertmanager"}, "tracing": {"jaeger"}, "tls": {"tls_proxy"}}
    assert set(config(f"--profile={profile}")["services"]) - set(config()["services"]) == more[profile]


def test_every_service_is_hardened(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["logging"]["options"]["max-size"], name
        assert int(service["mem_limit"]) <= 2 * 1024**3, name
        assert not service.get("privileged"), name
        assert "healthcheck" in service or name in {
            "ml_service",
            "jaeger",
        }  # the one has it in its Dockerfile, name


def test_images_are_pinned_by_version(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+(\.\d+|-alpine)+", service["image"]), name


def test_ports_are_on_loopback_by_default(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert {p["host_ip"] for p in service.get("ports", [])} <= {"127.0.0.1"}, name
    opened = config(*ALL, BIND="0.0.0.0")["services"]
    assert {p["host_ip"] for s in opened.values() for p in s.get("ports", [])} == {"0.0.0.0"}


def test_only_the_proxy_can_read_docker(services: dict[str, Any]) -> None:
    for name, service in services.items():
        sockets = [v for v in service.get("volumes", []) if "docker.sock" in v["source"]]
        assert bool(sockets) == (name == "docker-proxy"), name
    proxy = services["docker-proxy"]
    assert proxy["environment"] == {
        "CONTAINERS": "1",
        "NETWORKS": "1",
        "ALLOW_LOGS": "1",
        "LOG_LEVEL": "warning",
    }
    assert set(proxy["networks"]) == {"docker-socket"}
    assert "ports" not in proxy
    assert config()["networks"]["docker-socket"]["internal"] is True


def test_grafana_finds_every_folder_of_its_provisioning() -> None:
    # it logs an error for each folder that is missing
    folders = {path.name for path in (DEPLOY / "grafana" / "provisioning").iterdir()}
    assert folders == {"alerting", "dashboards", "datasources", "plugins"}
    for folder in folders:
        (file,) = (DEPLOY / "grafana" / "provisioning" / folder).iterdir()
        assert yaml.safe_load(file.read_text("utf-8"))["apiVersion"] == 1


def test_persistent_data_is_in_volumes_and_mounts_exist(services: dict[str, Any]) -> None:
    mounts = [volume for service in services.values() for volume in service.get("volumes", [])]
    kept = {v["source"] for v in mounts if v["type"] == "volume"}
    assert kept >= {"predictions", "reports", "prometheus-data", "loki-data", "promtail-data", "grafana-data"}
    for volume in mounts:
        if volume["type"] == "bind" and Path(volume["source"]).is_relative_to(ROOT):
            assert volume["read_only"] is True, volume
            assert Path(volume["source"]).exists() or volume["target"].startswith("/certs"), volume


def test_services_wait_for_healthy_dependencies(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            assert how["condition"] == "service_healthy", (name, needed)


def test_every_setting_can_be_set_in_driftbell_env(tmp_path: Path) -> None:
    (tmp_path / "deploy" / "defaults").mkdir(parents=True)
    for name in ("docker-compose.yaml", "deploy/defaults/service.env"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    folder = f"--project-directory={tmp_path}"

    def environment_of(**environment: str) -> tuple[str, str]:
        values = config(f"-f={tmp_path}/docker-compose.yaml", folder, **environment)["services"]["ml_service"]
        return (
            values["environment"]["DRIFTBELL_NOTIFICATIONS__LINK"],
            values["environment"]["DRIFTBELL_TRACING__ENDPOINT"],
        )

    assert environment_of() == ("http://localhost:8000", "")
    given = {"PUBLIC_URL": "https://ml.example.org", "TRACING_ENDPOINT": "http://jaeger:4318"}
    assert environment_of(**given) == ("https://ml.example.org", "http://jaeger:4318")
    own = "DRIFTBELL_NOTIFICATIONS__LINK=https://own\nDRIFTBELL_TRACING__ENDPOINT=http://own:4318\n"
    (tmp_path / "driftbell.env").write_text(own, "utf-8")
    assert environment_of() == ("https://own", "http://own:4318")


def test_the_service_knows_the_names_of_the_stack_and_its_reports_are_readable() -> None:
    def environment_of(**environment: str) -> dict[str, str]:
        values: dict[str, str] = config(**environment)["services"]["ml_service"]["environment"]
        return values

    def settings_of(values: dict[str, str]) -> settings.Settings:
        return settings.load(environment={k: v for k, v in values.items() if "URLS_FILE" not in k}).settings

    default = settings_of(environment_of())
    assert default.server.allowed_hosts == ("ml_service",)  # Prometheus and Alertmanager use this name
    assert int(default.umask, 8) & 0o055 == 0, "the report viewer is another user"
    given = settings_of(environment_of(ALLOWED_HOSTS="box.test, *.example.org", PUBLIC_URL="https://ml.test"))
    assert given.server.allowed_hosts == ("ml_service", "box.test", "*.example.org")
    assert given.notifications.link == "https://ml.test"


def test_grafana_has_the_default_password_only_without_a_secret() -> None:
    default = config()["secrets"]["grafana_admin_password"]["file"]
    assert Path(default).read_text("utf-8") == "admin"
    given = config(GRAFANA_ADMIN_PASSWORD_FILE="./secrets/mine")["secrets"]["grafana_admin_password"]["file"]
    assert given == str(ROOT / "secrets" / "mine")


def test_secrets_are_created_once_outside_git_and_readable_by_their_service(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    script = tmp_path / "deploy" / "secrets.sh"
    script.write_bytes((DEPLOY / "secrets.sh").read_bytes())
    first = subprocess.run(["bash", str(script)], capture_output=True, text=True, check=True).stdout
    assert "secrets/grafana_admin_password" in first
    done = subprocess.run(["bash", str(script)], capture_output=True, text=True, timeout=10, check=True)
    assert not done.stdout
    folder = tmp_path / "secrets"
    assert folder.stat().st_mode & 0o777 == 0o700
    made = {file.name: file.read_text("utf-8") for file in folder.iterdir()}
    assert made.keys() == {"grafana_admin_password", "postgres_password", "log_url"}
    assert all(file.stat().st_mode & 0o777 == 0o644 for file in folder.iterdir())
    for name in ("grafana_admin_password", "postgres_password"):
        assert len(made[name]) == 32
        assert made[name] not in first + done.stdout
    url = urlsplit(made["log_url"].strip())
    assert (url.scheme, url.username, url.password) == ("postgresql", "driftbell", made["postgres_password"])
    server = config(*POSTGRES)["services"]["postgres"]
    assert url.username == server["environment"]["POSTGRES_USER"]
    assert (url.hostname, url.port, url.path) == ("postgres", 5432, "/driftbell")
    assert (tmp_path / ".env").read_text("utf-8").count("GRAFANA_ADMIN_PASSWORD_FILE=") == 1
    ignored = (ROOT / ".gitignore").read_text("utf-8").splitlines()
    assert {"secrets/", ".env", "driftbell.env", "certs/"} <= set(ignored)


@pytest.mark.parametrize("before", ["BIND=10.0.0.1", "BIND=10.0.0.1\n", ""])
def test_existing_lines_of_env_are_kept(tmp_path: Path, before: str) -> None:
    (tmp_path / "deploy").mkdir()
    script = tmp_path / "deploy" / "secrets.sh"
    script.write_bytes((DEPLOY / "secrets.sh").read_bytes())
    (tmp_path / ".env").write_text(before, "utf-8")
    subprocess.run(["bash", str(script)], capture_output=True, timeout=10, check=True)
    ours = "GRAFANA_ADMIN_PASSWORD_FILE=./secrets/grafana_admin_password"
    assert (tmp_path / ".env").read_text("utf-8").splitlines() == [*before.split(), ours]


def test_the_dockerfile_is_clean() -> None:
    done = subprocess.run(
        [tool("hadolint"), "Dockerfile"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout


def test_prometheus_and_alertmanager_accept_their_configuration(tmp_path: Path) -> None:
    shutil.copytree(DEPLOY / "prometheus" / "rules", tmp_path / "rules")
    for name in ("prometheus", "alertmanager"):
        text = (DEPLOY / name / f"{name}.yml").read_text("utf-8")
        (tmp_path / f"{name}.yml").write_text(with_service_key(text, tmp_path), "utf-8")
    for command in (
        [binary("promtool", "prometheus"), "check", "config", str(tmp_path / "prometheus.yml")],
        [binary("amtool", "prometheus-alertmanager"), "check-config", str(tmp_path / "alertmanager.yml")],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_fires_when_it_should() -> None:
    rules = sorted(Path(__file__).parent.glob("*.test.yml"))
    assert len(rules) == 2
    done = subprocess.run(
        [binary("promtool", "prometheus"), "test", "rules", *map(str, rules)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tested = set(re.findall(r"alertname: (\w+)", "".join(r.read_text("utf-8") for r in rules)))
    assert {r["alert"] for r in alert_rules()} <= tested


def alert_rules() -> list[dict[str, Any]]:
    files = sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))
    groups = [group for file in files for group in yaml.safe_load(file.read_text("utf-8"))["groups"]]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def scraped() -> dict[str, dict[str, Any]]:
    """Return the scrape configurations of the stack's Prometheus by job."""
    text = (DEPLOY / "prometheus" / "prometheus.yml").read_text("utf-8")
    return {job["job_name"]: job for job in yaml.safe_load(text)["scrape_configs"]}


def test_prometheus_scrapes_the_services_that_an_alert_watches(services: dict[str, Any]) -> None:
    targets = {
        job: [target for group in entry.get("static_configs", []) for target in group["targets"]]
        for job, entry in scraped().items()
    }
    assert targets["loki"] == ["loki:3100"]
    assert targets["log_collector"] == ["promtail:9080", "alloy:12345"]
    assert targets["grafana"] == ["grafana:3000"]
    for target in (t for names in targets.values() for t in names if t != "localhost:9090"):
        host = target.partition(":")[0]
        assert "monitoring" in services[host]["networks"], host
    (manager,) = scraped()["alertmanager"]["dns_sd_configs"]
    assert (manager["names"], manager["port"]) == (["alertmanager"], 9093)
    (down,) = [rule for rule in alert_rules() if rule["alert"] == "StackServiceDown"]
    (watched,) = re.findall(r'up\{job=~"([^"]+)"', down["expr"])
    assert set(watched.split("|")) == targets.keys() - {"driftbell", "prometheus"}


def test_every_alert_has_a_summary_and_a_section_in_the_runbook() -> None:
    runbook = json.loads((ROOT / "src/driftbell/server/runbook.json").read_text("utf-8"))
    sections = {entry["alert"] for entry in runbook}
    assert {rule["alert"] for rule in alert_rules()} == sections
    for rule in alert_rules():
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["runbook_url"] == f"http://localhost:8000/runbook#{rule['alert']}"
        assert rule["labels"]["severity"] in {"none", "info", "warning", "critical"}
    assert all(entry["means"] and entry["look"] and entry["fix"] for entry in runbook)


def test_rules_use_only_documented_metrics() -> None:
    known = (ROOT / "docs/reference/metrics.md").read_text("utf-8")
    for file in sorted((DEPLOY / "prometheus" / "rules").glob("*.yml")):
        for name in re.findall(r"(?<![:\w])driftbell_\w+", file.read_text("utf-8")):
            assert name.removesuffix("_bucket") in known, name
