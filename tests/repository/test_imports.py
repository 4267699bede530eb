"""Imports stay cheap: no heavy library, no socket, no optional dependency."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest
from tests.conftest import with_models

from driftbell.config.settings import Settings
from driftbell.wiring.store import open_store


def python(code: str, data_dir: Path | None = None) -> str:
    where = {"DRIFTBELL_DATA_DIR": str(with_models(data_dir))} if data_dir else {}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=os.environ | where
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_brings_in_no_heavy_library() -> None:
    heavy = "{'pandas', 'evidently', 'sklearn', 'scipy.stats', 'fastapi', 'sqlalchemy', 'pydantic', 'numpy'}"
    assert python(f"import sys, driftbell; print(sorted({heavy} & set(sys.modules)))") == "[]"


def test_import_opens_no_socket() -> None:
    forbid = "import sys; sys.addaudithook(lambda e, a: sys.exit(e) if e.startswith('socket.') else None)"
    assert (
        python(
            f"{forbid}; import driftbell, driftbell.wiring.server, driftbell.wiring.monitor; print('quiet')"
        )
        == "quiet"
    )


@pytest.mark.slow
def test_server_process_never_imports_evidently(tmp_path: Path) -> None:
    code = """
import sys
from starlette.testclient import TestClient
from driftbell import jsonlog
from driftbell.wiring import server as serving
jsonlog.configure(sys.stderr)
with TestClient(serving.application(), base_url="http://localhost") as client:
    body = client.get("/openapi.json").json()["paths"]["/predict"]["post"]["requestBody"]
    row = body["content"]["application/json"]["example"]
    assert client.post("/predict", json=row).status_code == 200
    for path in ("/", "/metrics", "/monitor/status", "/reports/", "/docs", "/openapi.json"):
        assert client.get(path).status_code == 200, path
print("evidently" in sys.modules)
"""
    assert python(code, tmp_path) == "False"


WITHOUT_OTEL = """
import os, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry.proto")):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked())
from driftbell import errors, jsonlog, server
from driftbell.config import settings
from driftbell.wiring import server as serving
jsonlog.configure(sys.stderr)
"""


@pytest.mark.slow
def test_the_server_needs_no_opentelemetry_sdk(tmp_path: Path) -> None:
    assert python(f"{WITHOUT_OTEL}print(serving.application().title)", tmp_path) == "driftbell"


@pytest.mark.slow
def test_tracing_without_opentelemetry_says_what_to_install() -> None:
    code = f"""{WITHOUT_OTEL}
os.environ["DRIFTBELL_TRACING__ENDPOINT"] = "http://127.0.0.1:4318"
try:
    serving.run_server(settings.load().settings)
except errors.ConfigError as error:
    print(error)
"""
    expected = "tracing.endpoint needs the extra 'otel': pip install 'driftbell[otel]'"
    assert python(code) == expected


@pytest.mark.slow
def test_a_later_start_of_the_server_imports_no_library_of_models_and_tables(tmp_path: Path) -> None:
    heavy = {"sklearn", "scipy", "pandas", "polars", "pyarrow", "skl2onnx", "onnx", "joblib", "alembic"}
    code = f"""
import sys
from driftbell import jsonlog
from driftbell.wiring import server
jsonlog.configure(sys.stderr)
server.application()
unused = ("drift", "simulation", "monitor", "wiring.native_model", "models.convert", "degradation.encoder",
    "models.native")
unused = tuple("driftbell." + name for name in unused)
print("onnxruntime" in sys.modules, sorted(m for m in sys.modules if m in {heavy} or m.startswith(unused)))
"""
    with closing(open_store(Settings(data_dir=tmp_path), lazy=False)):  # alembic creates it
        assert python(code, tmp_path) == "True []"


def test_a_small_check_imports_little(tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in ("a.csv", "b.csv")]
    for path, rows, other in zip(paths, (150, 500), (37, 41), strict=True):
        lines = [f"{i % other}.5,2026-01-{i % 28 + 1:02},{'ab'[i % 2]}" for i in range(rows)]
        Path(path).write_text("\n".join(["x,day,city", *lines]))
    heavy = {"scipy", "pydantic", "sqlalchemy", "fastapi", "sklearn", "pandas", "structlog", "sqlite3"}
    heavy |= {"msgspec", "markupsafe", "driftbell.cli.run", "driftbell.records.check_state"}
    code = f"""
import atexit, sys
atexit.register(lambda: print(sorted({heavy | {"ssl"}} & set(sys.modules))))
sys.argv = ["driftbell", "check", *{paths}, "--fail-on", "never"]
from driftbell.cli import main
main()
"""
    assert python(code).splitlines()[-1] == "[]"


def test_every_command_is_listed_with_its_module() -> None:
    from driftbell import cli
    from driftbell.cli.root import COMMANDS

    for module in iter_modules(cli.__path__):
        import_module(f"driftbell.cli.{module.name}")
    modules = {}
    for name, command in cli.cli.commands.items():
        assert command.callback
        modules[name] = command.callback.__module__.removeprefix("driftbell.cli.")
    assert modules == COMMANDS


def test_every_record_is_imported_on_first_use() -> None:
    from driftbell import records

    assert set(records.__all__) == set(records._MODULES)
    for name, module in records._MODULES.items():
        assert getattr(records, name) is getattr(import_module(f"driftbell.records.{module}"), name)


def test_an_unknown_command_imports_all_for_the_suggestion_of_one() -> None:
    from driftbell.cli.root import COMMANDS

    code = (
        "import click; from driftbell.cli import cli; "
        "print(cli.get_command(click.Context(cli), 'chek'), len(cli.commands))"
    )
    assert python(code) == f"None {len(COMMANDS)}"
