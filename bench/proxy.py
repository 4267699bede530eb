"""What `driftbell proxy` adds to the latency of a model's server: paired runs, direct and through it.

A real `driftbell serve` with the Iris forest on loopback, called by `wrk` at `/invocations` with one row,
directly and through a real proxy that records each prediction.

    python bench/proxy.py [--tiny] [--seconds 5] [--pairs 5] [--connections 1 16]
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from sklearn.datasets import load_iris

ROW = [5.1, 3.5, 1.4, 0.2]
UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true", help="only prove that it runs")
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16])
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        print("not measured: wrk is missing (Debian's package wrk)")
        return
    seconds, pairs = (1, 1) if options.tiny else (options.seconds, options.pairs)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_script(folder / "row.lua")
        with running(folder / "model", "serve") as model:
            write_reference(folder / "reference.csv")
            command = ("proxy", "--upstream", model, "--protocol", "mlflow")
            settings = {
                "MODEL__NAME": "iris",
                "MODEL__REFERENCE": str(folder / "reference.csv"),
                "MODEL__PREDICTION": "predicted",
            }
            with running(folder / "proxy", *command, **settings) as proxy:
                print("| connections | p50 direct, ms | p50 through the proxy, ms | added, ms |")
                print("| --- | --- | --- | --- |")
                for connections in options.connections:
                    direct, through = [], []
                    for _ in range(pairs):
                        direct.append(p50(model, folder / "row.lua", connections, seconds))
                        through.append(p50(proxy, folder / "row.lua", connections, seconds))
                    added = statistics.median(b - a for a, b in zip(direct, through, strict=True))
                    medians = f"{statistics.median(direct):.2f} | {statistics.median(through):.2f}"
                    print(f"| {connections} | {medians} | {added:.2f} |", flush=True)


def p50(url: str, script: Path, connections: int, seconds: int) -> float:
    """Load for some seconds; return the median latency in milliseconds."""
    command = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"]
    command += ["--latency", "--timeout", "10s", "--script", str(script), f"{url}/invocations"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in text, text
    found = re.search(r"50%\s+([\d.]+)(us|ms|s)", text)
    assert found, text
    return float(found[1]) * UNITS[found[2]]


def write_script(path: Path) -> None:
    body = json.dumps({"instances": [ROW]})
    path.write_text(
        f"wrk.method = 'POST'\nwrk.body = '{body}'\nwrk.headers['Content-Type'] = 'application/json'\n"
    )


def write_reference(path: Path) -> None:
    iris = load_iris()
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*iris.feature_names, "predicted"])
        writer.writerows(
            [*row, iris.target_names[label]] for row, label in zip(iris.data, iris.target, strict=True)
        )


@contextlib.contextmanager
def running(folder: Path, *command: str, **settings: str) -> Iterator[str]:
    """Start a command of driftbell on a free port; yield its URL."""
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {"DATA_DIR": str(folder), "SERVER__ACCESS_LOG": "false", **settings}
    environment = {**os.environ, **{f"DRIFTBELL_{k}": v for k, v in variables.items()}}
    url = f"http://127.0.0.1:{port}"
    with (folder / "out").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "driftbell", *command, "--port", str(port)],
            env=environment,
            stdout=out,
            cwd=folder,
        )
    try:
        deadline = time.monotonic() + 120
        while not ready(f"{url}/{'driftbell/' if command[0] == 'proxy' else ''}health"):
            assert time.monotonic() < deadline, (folder / "out").read_text()
            time.sleep(0.1)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(40)


def ready(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url) as answer:
        return bool(answer.status == 200)
    return False


if __name__ == "__main__":
    main()
