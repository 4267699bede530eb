"""`POST /models`: versions are added from uploaded files, by administrators alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import joblib
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from skops import io as skops_io
from tests.conftest import CHEAP_MONITOR, EXAMPLE, Running, running, wait_until
from tests.service.test_auth import bearer, create

pytestmark = pytest.mark.service

CLASSES = ("setosa", "versicolor", "virginica")
BINARY = {"Content-Type": "application/octet-stream"}


@dataclass
class Registry:
    """A running service that requires keys, and model files.

    Attributes:
        service: the service.
        key: with the scope admin.
        files: model files by name.
    """

    service: Running
    key: str
    files: dict[str, bytes]

    def add(
        self, name: str, *, body: bytes | None = None, key: str = "", **parameters: str
    ) -> httpx.Response:
        return httpx.post(
            f"{self.service.url}/models",
            params={"file": name, **parameters},
            content=self.files[name] if body is None else body,
            headers={**BINARY, **bearer(key or self.key)},
            timeout=200,
        )


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with its reference, and two further versions of it."""
    folder = tmp_path_factory.mktemp("models")
    data: Any = load_iris(as_frame=True)
    labels = data.target.map(dict(enumerate(CLASSES)))
    data.data.assign(species=labels).to_csv(folder / "iris.csv", index=False)
    for number, name in enumerate(("first.skops", "second.skops", "third.joblib"), 1):
        model = LogisticRegression(max_iter=1000, C=number).fit(data.data, labels)
        (joblib.dump if name.endswith("joblib") else skops_io.dump)(model, folder / name)
    return folder


def settings(files: Path) -> dict[str, str]:
    model = {"PATH": "first.skops", "REFERENCE": "iris.csv"}
    paths = {f"MODEL__{name}": str(files / file) for name, file in model.items()}
    return {
        **CHEAP_MONITOR,
        "CHECK__EVERY": "off",
        "MODEL__NAME": "iris",
        "MODEL__TARGET": "species",
        **paths,
    }


@pytest.fixture(scope="module")
def registry(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("registry")
    admin = create(folder, "ada", "admin")
    contents = {path.name: path.read_bytes() for path in files.iterdir()}
    with running("serve", folder, **settings(files), AUTH__REQUIRED="always") as service:
        yield Registry(service, admin, contents)


def test_an_added_version_is_registered_and_can_be_promoted(registry: Registry) -> None:
    answer = registry.add("second.skops", note="weaker penalty")
    assert answer.status_code == 201, answer.text
    facts = answer.json()
    assert facts["golden_rows"] > 0
    assert facts["is_new"] is True
    url, key = registry.service.url, bearer(registry.key)
    listed = httpx.get(f"{url}/models", headers=key, timeout=10).json()["versions"]
    [version] = [v for v in listed if v["version"] == facts["version"]]
    assert (version["author"], version["note"]) == ("ada", "weaker penalty")
    why = {"author": "ada", "reason": "a test"}
    promoted = httpx.post(f"{url}/models/{facts['version']}/promote", json=why, headers=key, timeout=150)
    assert promoted.status_code == 200, promoted.text

    def serves() -> bool:
        return bool(httpx.get(f"{url}/health", timeout=10).json()["version"] == facts["version"])

    wait_until(serves, 20, "the promoted version")
    predicted = httpx.post(f"{url}/predict", json=EXAMPLE, headers=key, timeout=10)
    assert predicted.json()["class"] == "setosa"
    again = registry.add("second.skops")
    assert (again.status_code, again.json()["is_new"]) == (200, False)


def test_a_file_that_can_run_code_needs_its_hash(registry: Registry) -> None:
    refused = registry.add("third.joblib")
    assert refused.status_code == 422
    assert "can run any code" in refused.json()["detail"]
    assert "pass it as sha256" in refused.json()["detail"]
    digest = hashlib.sha256(registry.files["third.joblib"]).hexdigest()
    wrong = registry.add("third.joblib", sha256=digest[::-1])
    assert wrong.status_code == 422
    assert digest in wrong.json()["detail"]
    added = registry.add("third.joblib", sha256=digest)
    assert added.status_code == 201, added.text


def test_a_file_that_is_no_model_is_refused_with_its_name(registry: Registry) -> None:
    damaged = registry.add("second.skops", body=registry.files["second.skops"][:100])
    assert damaged.status_code == 422
    assert "second.skops" in damaged.json()["detail"]
    assert "driftbell-version-" not in damaged.text
    assert registry.add("second.skops", body=b"").status_code == 400
    assert registry.add("first.skops", body=b"x", threshold="cat=0.7").status_code == 422


@pytest.mark.parametrize("name", ["../x.skops", "a/b.skops", ".hidden", "-x.skops", "x" * 101, ""])
def test_a_name_that_is_no_plain_file_name_is_refused(registry: Registry, name: str) -> None:
    answer = registry.add(name, body=b"x")
    assert answer.status_code == 422
    assert "file" in answer.text


def test_a_body_of_another_media_type_is_refused(registry: Registry) -> None:
    url = f"{registry.service.url}/models?file=second.skops"
    for headers in ({"Content-Type": "text/plain"}, {}, {**BINARY, "Content-Encoding": "gzip"}):
        answer = httpx.post(url, content=b"x", headers={**headers, **bearer(registry.key)}, timeout=10)
        assert answer.status_code == 415, answer.text


def test_only_an_administrator_adds_versions(registry: Registry, files: Path, tmp_path: Path) -> None:
    for scope in ("predict", "label", "read"):
        key = create(registry.service.data_dir, scope, scope)
        answer = registry.add("second.skops", key=key)
        assert answer.status_code in (401, 403), answer.text  # 401 until the service has read the new key
    with running("serve", tmp_path, **settings(files)) as service:
        url = f"{service.url}/models?file=second.skops"
        answer = httpx.post(url, content=b"x", headers=BINARY, timeout=10)
        assert answer.status_code == 403
        assert "driftbell keys create" in answer.json()["detail"]
