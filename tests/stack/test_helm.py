"""The Helm chart as rendered by Helm: valid, hardened, consistent with the stack. No cluster is needed."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from tests.stack.chart import (
    CASES,
    CHART,
    OFF,
    PRODUCTION,
    Documents,
    deployments,
    helm,
    one,
    pods,
    render,
    schema,
    written,
)
from tests.stack.servers import DEPLOY, binary

import driftbell
from driftbell.cli.root import COMMANDS
from driftbell.config import settings as config
from driftbell.wiring.server import SHUTDOWN_SECONDS

ROOT = Path(__file__).parents[2]
KUBERNETES = "1.37"
CRDS = json.loads((Path(__file__).parent / "crds.json").read_text("utf-8"))
"""Schemas of the two kinds of the Prometheus Operator that the chart uses."""

CHARTS_OWN = {
    *("data_dir", "umask", "server.host", "server.port", "log.url", "log.url_file"),
    *("notifications.urls", "notifications.urls_file", "notifications.link", "auth.session_secret_file"),
}
"""Settings that the chart sets, or that are secrets."""


@pytest.fixture(params=CASES)
def documents(request: pytest.FixtureRequest, tmp_path: Path) -> Documents:
    return render(tmp_path, CASES[request.param])


@pytest.fixture
def production(tmp_path: Path) -> Documents:
    return render(tmp_path, PRODUCTION)


def test_helm_lint_has_no_findings(tmp_path: Path) -> None:
    for values in CASES.values():
        done = helm("lint", "--strict", str(CHART), "-f", written(tmp_path, values))
        assert done.returncode == 0, done.stdout
        assert "WARNING" not in done.stdout, done.stdout


def test_every_document_is_valid(documents: Documents) -> None:
    for document in documents:
        if document["kind"] in CRDS:
            jsonschema.validate(document, CRDS[document["kind"]])
        else:
            kubernetes_validate.validate(document, KUBERNETES, strict=True)
        assert len(document["metadata"]["name"]) <= 63
        assert document["metadata"]["labels"]["app.kubernetes.io/instance"] == "demo"
    assert len({(d["kind"], d["metadata"]["name"]) for d in documents}) == len(documents)


def test_options_enable_and_disable_resources(tmp_path: Path) -> None:
    kinds = {name: sorted(d["kind"] for d in render(tmp_path, v)) for name, v in CASES.items()}
    always = ["ConfigMap", "Deployment", "Deployment", "Service"]
    assert kinds["off"] == sorted(["Secret", *always])
    default = ["ConfigMap", "HorizontalPodAutoscaler", "Job", "PodDisruptionBudget", "ServiceAccount"]
    assert kinds["default"] == sorted(["Secret", *always, *default])
    more = ["NetworkPolicy", "NetworkPolicy", "PrometheusRule", "ServiceMonitor"]
    assert kinds["production"] == sorted(always + default + more)


def test_selectors_match_exactly_their_pods(documents: Documents) -> None:
    server, monitor = (d["spec"]["template"]["metadata"]["labels"].items() for d in deployments(documents))
    both = {"server": server, "monitor": monitor}
    for document in documents:
        component = document["metadata"]["labels"].get("app.kubernetes.io/component")
        spec = document.get("spec", {})
        selector = spec.get("podSelector") or spec.get("selector")
        if not selector or document["kind"] == "ServiceMonitor":
            continue
        wanted = selector.get("matchLabels", selector).items()
        for name, labels in both.items():
            assert (wanted <= labels) == (component in (name, None)), document["metadata"]["name"]
        for spread in spec.get("template", {}).get("spec", {}).get("topologySpreadConstraints", []):
            assert spread["labelSelector"]["matchLabels"].items() == wanted


def test_referenced_resources_exist(production: Documents) -> None:
    server, _ = deployments(production)
    target = one(production, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", server["metadata"]["name"])
    service = one(production, "Service")
    monitor = one(production, "ServiceMonitor")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] in {p["name"] for p in service["spec"]["ports"]}
    (container,) = server["spec"]["template"]["spec"]["containers"]
    ports = {p["name"] for p in container["ports"]}
    assert {p["targetPort"] for p in service["spec"]["ports"]} <= ports
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] in ports
    assert container["readinessProbe"]["httpGet"]["path"] == "/health"
    assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"
    for pod in (d["spec"]["template"]["spec"] for d in deployments(production)):
        assert pod["serviceAccountName"] == one(production, "ServiceAccount")["metadata"]["name"]


def test_the_autoscaler_replaces_the_fixed_number_of_replicas(tmp_path: Path) -> None:
    server, monitor = deployments(render(tmp_path, {}))
    assert "replicas" not in server["spec"]
    assert monitor["spec"]["replicas"] == 1
    server, _ = deployments(render(tmp_path, OFF))
    assert server["spec"]["replicas"] == 2
    done = helm("template", "demo", str(CHART), "--set=server.autoscaling.minReplicas=11")
    assert "maxReplicas (10) is less than minReplicas (11)" in done.stderr


def test_pods_are_unprivileged(documents: Documents) -> None:
    for pod in pods(documents):
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == 10001
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["requests"]["cpu"]
            assert container["resources"]["limits"]["memory"]
            assert "cpu" not in container["resources"]["limits"]


def test_a_cluster_can_assign_the_user(tmp_path: Path) -> None:
    for pod in pods(render(tmp_path, {"user": None})):
        assert set(pod["spec"]["securityContext"]) == {"runAsNonRoot", "seccompProfile"}


def test_mounts_have_volumes_and_written_paths_are_writable(documents: Documents) -> None:
    for pod in pods(documents):
        volumes = {v["name"]: v for v in pod["spec"]["volumes"]}
        (container,) = pod["spec"]["containers"]
        mounts = {m["name"]: m for m in container["volumeMounts"]}
        assert set(mounts) == set(volumes)
        assert {n for n, v in volumes.items() if "emptyDir" in v} == {"data", "tmp"}
        writable = {m["mountPath"] for m in mounts.values() if not m.get("readOnly")}
        assert writable <= {"/data", "/tmp", "/data/reports"}
        assert mounts["data"]["mountPath"] == "/data"
        assert "sizeLimit" not in volumes["data"]["emptyDir"]  # beyond it the pod is evicted with its journal
        assert "ephemeral-storage" not in container["resources"]["limits"]


def test_a_terminating_server_has_enough_time(tmp_path: Path) -> None:
    spec = deployments(render(tmp_path, {}))[0]["spec"]["template"]["spec"]
    pause = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert spec["terminationGracePeriodSeconds"] >= pause + SHUTDOWN_SECONDS + 15
    least = schema()["properties"]["server"]["properties"]["terminationGracePeriodSeconds"]["minimum"]
    assert least > pause + SHUTDOWN_SECONDS


def test_the_containers_run_commands_that_exist(documents: Documents) -> None:
    commands = [pod["spec"]["containers"][0]["args"] for pod in pods(documents)]
    assert [a for a in commands if a != ["db", "upgrade"]] == [["monitor"], ["serve"]]
    assert {a[0] for a in commands} <= set(COMMANDS)
    assert not any("command" in pod["spec"]["containers"][0] for pod in pods(documents))  # the image's own


def test_the_migration_does_not_depend_on_later_resources(production: Documents) -> None:
    job = one(production, "Job")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    spec = job["spec"]["template"]["spec"]
    assert spec["serviceAccountName"] == "default"
    assert all(set(v) & {"emptyDir", "secret"} for v in spec["volumes"])


def test_driftbell_accepts_the_configuration(documents: Documents, tmp_path: Path) -> None:
    file = tmp_path / "driftbell.toml"
    file.write_text(one(documents, "ConfigMap", "demo-driftbell")["data"]["driftbell.toml"], "utf-8")
    for pod in pods(documents):
        env = {e["name"]: e.get("value", "") for e in pod["spec"]["containers"][0]["env"]}
        assert env.pop("DRIFTBELL_CONFIG", "/etc/driftbell/driftbell.toml") == "/etc/driftbell/driftbell.toml"
        settings = config.load(file, environment=env).settings
        assert settings.data_dir == Path("/data")
        assert (settings.server.host, settings.server.port) == ("0.0.0.0", 8000)
        assert settings.log.url_file == Path("/run/secrets/driftbell/log/url")


def test_user_settings_are_rendered(production: Documents, tmp_path: Path) -> None:
    file = tmp_path / "driftbell.toml"
    file.write_text(one(production, "ConfigMap", "demo-driftbell")["data"]["driftbell.toml"], "utf-8")
    loaded = config.setting_values(config.load(file, environment={}).settings)
    given = {f"{s}.{k}": v for s, keys in PRODUCTION["config"].items() for k, v in keys.items()}
    assert {name: loaded[name] for name in given} == given | {"notifications.cooldown": "60m"}
    assert loaded["notifications.link"] == "https://ml.example.org"
    assert loaded["reports.evidently"] == "auto"  # there is a folder for its reports


def test_limits_of_columns_are_rendered(tmp_path: Path) -> None:
    values = {
        "limits": {"petal width (cm).max": 3, "age.null_share": 0.1},
        "check": {"smallest_effects": "a b=0.1"},
    }
    file = tmp_path / "driftbell.toml"
    rendered = one(render(tmp_path, {"config": values}), "ConfigMap", "demo-driftbell")
    file.write_text(rendered["data"]["driftbell.toml"], "utf-8")
    settings = config.load(file, environment={}).settings
    assert settings.limits == {"petal width (cm).max": 3, "age.null_share": 0.1}
    assert settings.check.smallest_effects == {"a b": 0.1}


def test_pods_are_replaced_when_the_configuration_changes(tmp_path: Path) -> None:
    def sums(values: dict[str, Any]) -> set[str]:
        rendered = deployments(render(tmp_path, values))
        return {d["spec"]["template"]["metadata"]["annotations"]["checksum/config"] for d in rendered}

    assert len(sums({})) == 1
    assert sums({}) == sums({"monitor": {"replicas": 2}})
    assert sums({}) != sums({"config": {"check": {"every": "1m"}}})


def test_secrets_are_referenced_and_never_rendered(production: Documents) -> None:
    assert not [d for d in production if d["kind"] == "Secret"]
    for pod in pods(production):
        (container,) = pod["spec"]["containers"]
        volumes = {v["name"]: v for v in pod["spec"]["volumes"]}
        assert volumes["log-url"]["secret"]["secretName"] == "pg"
        assert volumes["log-url"]["secret"]["items"] == [{"key": "uri", "path": "url"}]
        assert not {"DRIFTBELL_LOG__URL", "DRIFTBELL_NOTIFICATIONS__URLS"} & {
            e["name"] for e in container["env"]
        }
        # only the server signs sessions, and only the monitor needs the notification targets
        assert ("session-secret" in volumes) == (container["name"] == "server")
        if container["name"] == "server":
            assert volumes["session-secret"]["secret"]["secretName"] == "sessions"
        assert ("notification-urls" in volumes) == (container["name"] == "monitor")


def test_all_replicas_sign_sessions_with_one_generated_secret(tmp_path: Path) -> None:
    documents = render(tmp_path, {})
    secret = one(documents, "Secret")
    server, _ = deployments(documents)
    spec = server["spec"]["template"]["spec"]
    (volume,) = (v["secret"] for v in spec["volumes"] if v["name"] == "session-secret")
    assert volume["secretName"] == secret["metadata"]["name"] == "demo-driftbell-sessions"
    assert {item["key"] for item in volume["items"]} == set(secret["data"])
    (value,) = secret["data"].values()
    assert len(base64.b64decode(value)) == 64
    assert one(render(tmp_path, {}), "Secret")["data"] != secret["data"]
    (container,) = spec["containers"]
    env = {e["name"]: e.get("value") for e in container["env"]}
    (mount,) = (m["mountPath"] for m in container["volumeMounts"] if m["name"] == "session-secret")
    assert env["DRIFTBELL_AUTH__SESSION_SECRET_FILE"] == f"{mount}/{volume['items'][0]['path']}"


def test_config_accepts_every_setting_that_the_chart_does_not_set() -> None:
    sections = schema()["properties"]["config"]["properties"]
    taken = {f"{section}.{key}" for section, keys in sections.items() for key in keys.get("properties", ())}
    assert taken | {"limits", "models"} == set(config.setting_names()) - CHARTS_OWN


def test_the_schema_covers_exactly_the_values() -> None:
    def compare(described: dict[str, Any], given: dict[str, Any], where: str) -> None:
        known = set(described["properties"]) - {"global"}
        assert known == set(given), where
        for name in known - {"config", "volume", "affinity"}:
            inner = described["properties"][name]
            if "properties" in inner:
                assert inner["additionalProperties"] is False, f"{where}.{name}"
                compare(inner, given[name], f"{where}.{name}")

    compare(schema(), yaml.safe_load((CHART / "values.yaml").read_text("utf-8")), "values")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"replicas": 3}, "'replicas' not allowed"),
        ({"server": {"replica": 3}}, "at '/server': additional properties 'replica' not allowed"),
        ({"server": {"replicas": "many"}}, "'/server/replicas': got string, want integer"),
        ({"server": {"terminationGracePeriodSeconds": 5}}, "'/server/terminationGracePeriodSeconds'"),
        ({"log": {"url": "postgresql://user:pw@host/db"}}, "at '/log': additional properties 'url'"),
        ({"log": {"existingSecret": ""}}, "'/log/existingSecret'"),
        ({"config": {"log": {"url": "postgresql://host/db"}}}, "'/config/log': additional properties 'url'"),
        (
            {"config": {"notifications": {"urls": "json://host"}}},
            "'/config/notifications': additional properties 'urls'",
        ),
        ({"config": {"chek": {"every": "1m"}}}, "'/config': additional properties 'chek'"),
        ({"config": {"check": {"evry": "1m"}}}, "'/config/check': additional properties 'evry'"),
        ({"config": {"check": {"every": False}}}, "'/config/check/every': got boolean, want string"),
        ({"env": [{"name": "DRIFTBELL_LOG__URL", "value": "x"}]}, "'/env/0/name'"),
        ({"env": [{"name": "DRIFTBELL_SERVER__PORT", "value": "9000"}]}, "'/env/0/name'"),
        ({"image": {"digest": "abc"}}, "'/image/digest'"),
        ({"model": {"volume": {"claim": {}}}}, "'/model/volume': additional properties 'claim'"),
        ({"service": {"type": "ExternalName"}}, "'/service/type'"),
        ({"publicUrl": "https://user:pw@host"}, "'/publicUrl'"),
        ({"serviceMonitor": {"interval": "soon"}}, "'/serviceMonitor/interval'"),
    ],
)
def test_an_invalid_value_is_refused_by_its_name(wrong: dict[str, Any], message: str, tmp_path: Path) -> None:
    done = helm("template", "demo", str(CHART), "-f", written(tmp_path, wrong))
    assert done.returncode != 0
    assert message in done.stderr


def rules_of(documents: Documents) -> list[dict[str, Any]]:
    return one(documents, "PrometheusRule")["spec"]["groups"]


def rule_files() -> str:
    folder = DEPLOY / "prometheus" / "rules"  # stack.yml is about services that the chart has not
    files = [folder / "alerts.yml", folder / "recording.yml"]
    return "\n".join(file.read_text("utf-8").replace("groups:\n", "") for file in files)


def test_the_rules_equal_those_of_the_stack(tmp_path: Path) -> None:
    same = {"prometheusRule": {"enabled": True}} | {"fullnameOverride": "driftbell"}
    rendered = rules_of(render(tmp_path, same | {"publicUrl": "http://localhost:8000"}))
    wanted = yaml.safe_load("groups:\n" + rule_files())["groups"]
    (down,) = (r for group in rendered for r in group["rules"] if r.get("alert") == "ServiceDown")
    assert "kubectl -n ml" in down["annotations"]["description"]
    for groups in (rendered, wanted):
        (rule,) = (r for group in groups for r in group["rules"] if r.get("alert") == "ServiceDown")
        del rule["annotations"]["description"]  # how to look for the service is another matter here
    assert rendered == wanted


def test_the_rules_refer_to_the_release(production: Documents, tmp_path: Path) -> None:
    text = json.dumps(rules_of(production))
    assert 'up{job=\\"demo-driftbell\\"}' in text
    assert "https://ml.example.org/runbook#ServiceDown" in text
    assert "docker" not in text
    assert "localhost" not in text
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": rules_of(production)}), "utf-8")
    done = subprocess.run(
        [binary("promtool", "prometheus"), "check", "rules", "--lint=all", "--lint-fatal", str(file)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboards_equal_those_of_the_package(tmp_path: Path) -> None:
    rendered = one(render(tmp_path, {}), "ConfigMap", "-dashboards")
    assert rendered["metadata"]["labels"]["grafana_dashboard"] == "1"
    files = (ROOT / "src" / "driftbell" / "ops" / "dashboards").glob("*.json")
    assert rendered["data"].keys() == {f"driftbell-{file.name}" for file in files}
    for name, text in rendered["data"].items():
        file = ROOT / "src" / "driftbell" / "ops" / "dashboards" / name.removeprefix("driftbell-")
        assert json.loads(text) == json.loads(file.read_text("utf-8"))
    assert sum(map(len, rendered["data"].values())) < 900_000  # a ConfigMap holds a mebibyte


def test_a_packaged_chart_is_complete(production: Documents, tmp_path: Path) -> None:
    done = helm("package", str(CHART), "--destination", str(tmp_path))
    assert done.returncode == 0, done.stderr
    (packed,) = tmp_path.glob("*.tgz")
    assert render(tmp_path, PRODUCTION, chart=packed) == production


def test_the_chart_has_the_version_of_the_release() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    assert chart["version"] == chart["appVersion"] == driftbell.__version__


def test_the_notes_name_the_required_secret(tmp_path: Path) -> None:
    args = ("--namespace=ml", "-f", written(tmp_path, {"log": {"existingSecret": "pg"}}))
    notes = helm("install", "demo", str(CHART), "--dry-run=client", *args).stdout.partition("NOTES:")[2]
    assert "kubectl -n ml create secret generic pg --from-literal=url=postgresql://" in notes
    assert "deployment/demo-driftbell" in notes


def test_keys_are_required_as_soon_as_one_exists_unless_the_values_say_otherwise(tmp_path: Path) -> None:
    for values, required in (({}, "with_keys"), ({"auth": {"required": "always", "open": []}}, "always")):
        file = tmp_path / "driftbell.toml"
        rendered = one(render(tmp_path, {"config": values}), "ConfigMap", "demo-driftbell")
        file.write_text(rendered["data"]["driftbell.toml"], "utf-8")
        assert config.load(file, environment={}).settings.auth.required == required


def test_the_key_of_prometheus_is_in_a_secret(tmp_path: Path) -> None:
    for more, authorization in (
        ({}, None),
        ({"existingSecret": "prom"}, {"credentials": {"name": "prom", "key": "key"}}),
        (
            {"existingSecret": "prom", "secretKey": "k"},
            {"credentials": {"name": "prom", "key": "k"}},
        ),
    ):
        values = {"serviceMonitor": {"enabled": True, **more}}
        (endpoint,) = one(render(tmp_path, values), "ServiceMonitor")["spec"]["endpoints"]
        assert endpoint.get("authorization") == authorization
