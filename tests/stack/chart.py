"""Render the Helm chart with Helm, and look up the rendered documents."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.stack.servers import DEPLOY

CHART = DEPLOY / "helm" / "driftbell"
OFF = {
    "server": {"autoscaling": {"enabled": False}, "podDisruptionBudget": {"enabled": False}},
    "migrations": {"enabled": False},
    "dashboards": {"enabled": False},
    "serviceAccount": {"name": "mine"},
}
PRODUCTION: dict[str, Any] = {
    "image": {"repository": "registry.example.org/ml/driftbell", "digest": f"sha256:{'a' * 64}"}
    | {"pullSecrets": [{"name": "registry"}]},
    "publicUrl": "https://ml.example.org/",
    "log": {"existingSecret": "pg", "secretKey": "uri"},
    "sessions": {"existingSecret": "sessions"},
    "notifications": {"existingSecret": "receivers"},
    "model": {"volume": {"persistentVolumeClaim": {"claimName": "churn"}}},
    "reports": {"existingClaim": "reports"},
    "config": {
        "model": {"name": "churn", "path": "/model/churn.skops", "reference": "/model/held_out.csv"},
        "check": {"every": "1m", "false_discovery_rate": 0.01},
        "window": {"rows": 100_000},
        "server": {"workers": 2, "access_log": False},
        "notifications": {"cooldown": "1h"},
        "alarms": {"budget": "1 per 30d"},
    },
    "env": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "store", "key": "token"}}}],
    "server": {
        "autoscaling": {"maxReplicas": 50},
        "podDisruptionBudget": {"maxUnavailable": "20%"},
        "nodeSelector": {"pool": "ml"},
        "tolerations": [{"key": "ml", "operator": "Exists"}],
        "podAnnotations": {"team": "ml"},
    },
    "monitor": {"replicas": 2},
    "service": {"type": "LoadBalancer", "port": 80, "annotations": {"a": "b"}},
    "serviceAccount": {"annotations": {"role": "ml"}},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
    "networkPolicy": {
        "enabled": True,
        "from": [{"namespaceSelector": {}}],
        "egress": [{"ports": [{"port": 443, "protocol": "TCP"}]}],
    },
}
CASES: dict[str, dict[str, Any]] = {"default": {}, "production": PRODUCTION, "off": OFF}

Documents = list[dict[str, Any]]


def helm(*args: str) -> subprocess.CompletedProcess[str]:
    """Run Helm; skip the test if it is missing, except in CI."""
    beside = Path(sys.executable).parent / "helm"
    program = str(beside) if beside.exists() else shutil.which("helm")
    if not program:
        assert os.environ.get("CI") != "true", "CI promises helm: tests/helm.sh installs it"
        pytest.skip("helm is not installed (tests/helm.sh)")
    return subprocess.run([program, *args], capture_output=True, text=True, timeout=60)


def render(folder: Path, values: dict[str, Any], *args: str, chart: Path = CHART) -> Documents:
    """Return the documents rendered with these values."""
    done = helm("template", "demo", str(chart), "--namespace=ml", "-f", written(folder, values), *args)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def written(folder: Path, values: dict[str, Any]) -> str:
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(values), "utf-8")
    return str(file)


def one(documents: Documents, kind: str, name: str = "") -> dict[str, Any]:
    """Return the only document of a kind whose name has this suffix."""
    (document,) = (d for d in documents if d["kind"] == kind and d["metadata"]["name"].endswith(name))
    return document


def deployments(documents: Documents) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the deployments of server and monitor."""
    return one(documents, "Deployment", "demo-driftbell"), one(documents, "Deployment", "-monitor")


def pods(documents: Documents) -> list[dict[str, Any]]:
    return [d["spec"]["template"] for d in documents if d["kind"] in ("Deployment", "Job")]


def schema() -> dict[str, Any]:
    return json.loads((CHART / "values.schema.json").read_text("utf-8"))
