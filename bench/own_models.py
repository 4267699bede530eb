"""Measure how a service with a model of one's own starts: an ordinary pipeline, and a wide model.

The pipeline imputes, scales, encodes and predicts with a random forest of 100 trees; its first start
converts it to ONNX, a later one reads the conversion. The wide model has 2,000 features and 300 classes.
Wall time depends on what else runs, so the CPU time of all processes until then is beside it.

    python bench/own_models.py [--tiny] [--runs 3]
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

TICKS = os.sysconf("SC_CLK_TCK")
LIMIT_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Start:
    """One start.

    Attributes:
        seconds: wall time until it was ready.
        cpu: CPU seconds of all processes until then.
        megabytes: memory of all processes then (proportional set size).
    """

    seconds: float
    cpu: float
    megabytes: float


@dataclass(frozen=True, slots=True)
class Service:
    """A starting service: its port, its process, and when it began."""

    port: int
    pid: int
    began: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true", help="only prove that it runs")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    runs = 1 if options.tiny else options.runs
    with tempfile.TemporaryDirectory() as folder:
        settings = pipeline(Path(folder), rows=200 if options.tiny else 5000)
        print(f"Pipeline, `driftbell serve`, medians of {runs}\n")
        print("| start | ready after, s | CPU, s | memory, MB |\n| --- | --- | --- | --- |")
        first: list[Start] = []
        later: list[Start] = []
        for run in range(runs):
            data = Path(folder) / f"data{run}"
            for starts in (first, later):
                with started("serve", data, settings) as service:
                    starts.append(until(service, lambda health: True))
        for name, starts in (("first, with the conversion", first), ("later", later)):
            print(row(name, starts))
    with tempfile.TemporaryDirectory() as folder:
        features, classes, rows = (30, 5, 200) if options.tiny else (2000, 300, 3000)
        settings = wide(Path(folder), features, classes, rows)
        print(f"\n{features:,} features, {classes} classes, `driftbell up`, medians of {runs}\n")
        print(
            "| start | server and monitor ready after, s | CPU, s | memory, MB |\n| --- | --- | --- | --- |"
        )
        first, later, size = [], [], 0
        for run in range(runs):
            data = Path(folder) / f"data{run}"
            for starts in (later,) if options.tiny else (first, later):
                with started("up", data, settings) as service:
                    starts.append(until(service, lambda health: health["monitor"] == "running"))
                    size = max(size, len(get(service.port, "/metrics")))
        for name, starts in (("first", first), ("later", later)):
            if starts:
                print(row(name, starts))
        print(f"\n`/metrics` before the first check: {size / 1000:.0f} kB")


def pipeline(folder: Path, rows: int) -> dict[str, str]:
    """Write the pipeline and its reference; return the settings."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({f"n{i}": rng.normal(size=2 * rows) for i in range(8)})
    for i in range(4):
        table[f"c{i}"] = np.array(["red", "green", "blue", None])[rng.integers(4, size=2 * rows)]
    table.loc[rng.random(2 * rows) < 0.05, "n0"] = np.nan
    label = np.where(table["n1"] + (table["c0"] == "red") + rng.normal(size=2 * rows) > 0.5, "yes", "no")
    names, texts = [f"n{i}" for i in range(8)], [f"c{i}" for i in range(4)]
    model = make_pipeline(
        make_column_transformer(
            (make_pipeline(SimpleImputer(), StandardScaler()), names),
            (OneHotEncoder(handle_unknown="ignore"), texts),
        ),
        RandomForestClassifier(100, max_depth=12, random_state=0),
    )
    return saved(folder, model.fit(table[:rows], label[:rows]), table[rows:], label[rows:])


def wide(folder: Path, features: int, classes: int, rows: int) -> dict[str, str]:
    """Write a model with many features and classes, and its reference; return the settings."""
    rng = np.random.default_rng(0)
    label = rng.integers(classes, size=rows)
    centers = rng.normal(size=(classes, features))
    values = (centers[label] + rng.normal(scale=2.0, size=(rows, features))).round(3)
    table = pd.DataFrame(values, columns=[f"f{i}" for i in range(features)])
    names = np.array([f"class {i}" for i in label])
    half = rows // 3
    model = RandomForestClassifier(20, max_depth=8, random_state=0).fit(table[:half], names[:half])
    return saved(folder, model, table[half:], names[half:])


def saved(folder: Path, model: Any, table: pd.DataFrame, label: np.ndarray[Any, Any]) -> dict[str, str]:
    joblib.dump(model, folder / "model.joblib")
    table.assign(label=label).to_parquet(folder / "reference.parquet")
    return {
        "MODEL__PATH": str(folder / "model.joblib"),
        "MODEL__SHA256": hashlib.sha256((folder / "model.joblib").read_bytes()).hexdigest(),
        "MODEL__REFERENCE": str(folder / "reference.parquet"),
        "MODEL__TARGET": "label",
        "CHECK__EVERY": "off",
    }


@contextlib.contextmanager
def started(verb: str, data: Path, settings: dict[str, str]) -> Iterator[Service]:
    """Start `driftbell VERB` on a free port, and stop it."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DRIFTBELL_")}
    environment |= {f"DRIFTBELL_{k}": v for k, v in {**settings, "DATA_DIR": str(data)}.items()}
    command = [sys.executable, "-m", "driftbell", verb, "--port", str(port)]
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield Service(port, process.pid, began)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def until(service: Service, ready: Callable[[dict[str, Any]], bool]) -> Start:
    """Wait until the service answers that it is ready."""
    while time.perf_counter() - service.began < LIMIT_SECONDS:
        with contextlib.suppress(OSError, urllib.error.URLError):
            if ready(json.loads(get(service.port, "/health"))):
                seconds = time.perf_counter() - service.began
                cpu, memory = usage(service.pid)
                return Start(seconds, cpu, memory)
        time.sleep(0.02)
    raise SystemExit(f"the service was not ready within {LIMIT_SECONDS:.0f} s")


def get(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
        content: bytes = answer.read()
        return content


def usage(root: int) -> tuple[float, float]:
    """Return CPU seconds (ended children included) and megabytes of a process and its descendants."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            parents[int(folder.name)] = int(fields[1])
            ticks[int(folder.name)] = sum(map(int, fields[11:15]))
    tree = {root}
    while more := {pid for pid, parent in parents.items() if parent in tree} - tree:
        tree |= more
    kilobytes = 0
    for pid in tree:
        with contextlib.suppress(OSError):
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            kilobytes += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return sum(ticks.get(pid, 0) for pid in tree) / TICKS, kilobytes / 1000


def row(title: str, starts: list[Start]) -> str:
    seconds, cpu, memory = (
        statistics.median(values)
        for values in zip(*((s.seconds, s.cpu, s.megabytes) for s in starts), strict=True)
    )
    return f"| {title} | {seconds:.1f} | {cpu:.1f} | {memory:.0f} |"


if __name__ == "__main__":
    main()
