"""What is measured: each target's command, address and body, and the Python that can run it."""

from __future__ import annotations

import functools
import json
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serve.servers.forest import FILE_VARIABLE, NAMES

OURS = "driftbell"
ROUTE, TUTORIAL, LITSERVE, BENTOML, MLSERVER = "plain route", "tutorial", "LitServe", "BentoML", "MLServer"
SERVE, POWER, ASYNC = "driftbell serve", "driftbell, power", "driftbell, async"
NATIVE, TWO = "driftbell, native", "driftbell, 2 workers"
QUIET, BARE = "driftbell, no access log", "driftbell, monitoring off"
PEERS = (LITSERVE, BENTOML, MLSERVER)
TEMPLATE = "driftbell-template"
Row = Mapping[str, float]


def as_object(row: Row) -> Any:
    """Give a row as driftbell and most peers take it."""
    return dict(row)


@dataclass(frozen=True)
class Target:
    """One service.

    Attributes:
        name: what it is called in the tables.
        command: gives the arguments after its Python, by port and by a folder of its own.
        needs: modules that its Python must have.
        install: what brings them.
        ready: the path that answers 200 once it serves.
        path: where a row is sent.
        body: a row as it takes it.
        expects: what its answer on the first flower must hold.
        trigger: the path that runs a check, or "".
        environment: variables by name, or none.
        logs: whether every answer must be a row in driftbell's log.
    """

    name: str
    command: Callable[[int, Path], list[str]]
    needs: tuple[str, ...] = ()
    install: str = ""
    ready: str = "/health"
    path: str = "/predict"
    body: Callable[[Row], Any] = as_object
    expects: str = '"class":"setosa"'
    trigger: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    logs: bool = False

    @property
    def ours(self) -> bool:
        """Whether it is driftbell."""
        return self.name.startswith(OURS)


def free_port() -> int:
    """Give a port on loopback that nobody has."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def server(module: str) -> Callable[[int, Path], list[str]]:
    """Give the command of a service in `serve.servers`."""
    return lambda port, _: ["-m", f"serve.servers.{module}", str(port)]


def driftbell(name: str, verb: str = "up", **settings: str) -> Target:
    """Give driftbell with some settings, each as in the environment."""
    return Target(
        name,
        lambda _, __: ["-m", "driftbell", verb],
        needs=("driftbell",),
        trigger="/monitor/trigger_now" if verb == "up" else "",
        environment={f"DRIFTBELL_{key}": value for key, value in settings.items()},
        logs=settings.get("LOG__DURABILITY") != "async",
    )


def bentoml(port: int, _: Path) -> list[str]:
    """Start BentoML's own command."""
    service = ["serve", "serve.servers.with_bentoml:Forest", "--host", "127.0.0.1", "--port", str(port)]
    return ["-m", "bentoml", *service]


def mlserver(port: int, folder: Path) -> list[str]:
    """Write MLServer's settings, with adaptive batching and the model in the server's process; start it."""
    model = {
        "name": "iris",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "max_batch_size": 64,
        "max_batch_time": 0.005,
    }
    settings = {"host": "127.0.0.1", "http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
    settings |= {"parallel_workers": 0, "debug": False}
    (folder / "model-settings.json").write_text(json.dumps(model), encoding="utf-8")
    (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    return ["-m", "mlserver.cli.main", "start", str(folder)]


def as_tensor(row: Row) -> Any:
    """Give a row in the Open Inference Protocol, and ask for the probabilities alone."""
    values = {"name": "rows", "shape": [1, 4], "datatype": "FP64", "data": list(row.values())}
    return {"inputs": [values], "outputs": [{"name": "predict_proba"}]}


TARGETS = (
    Target(ROUTE, server("route"), needs=("fastapi", "uvicorn", "uvloop", "httptools")),
    Target(
        TUTORIAL,
        server("tutorial"),
        ready="/docs",
        needs=("fastapi", "uvicorn", "sklearn", "pandas", "evidently", "prometheus_fastapi_instrumentator"),
        install="fastapi uvicorn scikit-learn 'pandas<3' evidently prometheus-fastapi-instrumentator",
        trigger="/monitor/trigger_now",
    ),
    Target(LITSERVE, server("with_litserve"), needs=("litserve", "sklearn"), install="litserve scikit-learn"),
    Target(
        BENTOML,
        bentoml,
        needs=("bentoml", "sklearn"),
        install="bentoml scikit-learn",
        ready="/readyz",
        body=lambda row: {"rows": [list(row.values())]},
    ),
    Target(
        MLSERVER,
        mlserver,
        needs=("mlserver", "mlserver_sklearn"),
        install="mlserver mlserver-sklearn",
        ready="/v2/models/iris/ready",
        path="/v2/models/iris/infer",
        body=as_tensor,
        expects='"data":[1.0,0.0,0.0]',
    ),
    driftbell(OURS),
    driftbell(SERVE, "serve"),
    driftbell(POWER, LOG__DURABILITY="power"),
    driftbell(ASYNC, LOG__DURABILITY="async"),
    driftbell(NATIVE, MODEL__ENGINE="native"),
    driftbell(TWO, SERVER__WORKERS="2"),
    driftbell(QUIET, SERVER__ACCESS_LOG="false"),
    driftbell(BARE, "serve", SERVER__ACCESS_LOG="false", LOG__DURABILITY="async"),
)


def bodies(target: Target, rows: Sequence[Row]) -> list[str]:
    """Give the bodies that are sent, each one line."""
    return [json.dumps(target.body(row)) for row in rows]


def flowers() -> list[Row]:
    """Give the 150 rows of Iris, the first one of which is a setosa without doubt."""
    from sklearn.datasets import load_iris

    data: Any = load_iris()
    return [dict(zip(NAMES, values, strict=True)) for values in data.data.tolist()]


@functools.cache
def modules(python: str) -> frozenset[str]:
    """Tell which of the needed modules a Python has."""
    wanted = sorted({name for target in TARGETS for name in target.needs})
    code = f"import importlib.util as u; print(*[n for n in {wanted!r} if u.find_spec(n)])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return frozenset(done.stdout.split())


def python_for(target: Target, pythons: Sequence[str]) -> str | None:
    """Give the first Python that has all that a target needs; driftbell and the route run in this one."""
    mine = target.ours or target.name == ROUTE
    tried = [sys.executable] if mine else [*pythons, sys.executable]
    return next((p for p in tried if set(target.needs) <= modules(p)), None)


def fit_forest(python: str, file: Path) -> dict[str, str]:
    """Fit the forest in a peer's Python; give the environment that names it."""
    command = [python, "-m", "serve.servers.forest", str(file)]
    here = Path(__file__).parent.parent
    subprocess.run(command, cwd=here, check=True, timeout=120, capture_output=True)
    return {FILE_VARIABLE: str(file), "MLSERVER_MODEL_URI": str(file)}
