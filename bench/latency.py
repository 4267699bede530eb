"""What a running check costs the callers of `/predict`: p99 with checks against p99 without, in one run.

A real `driftbell up` on loopback with the Iris forest; requests arrive at a steady rate over 16 connections.
In every second phase one check follows the other, each with its reports (Evidently's too where it is
installed).

    python bench/latency.py [--tiny] [--rate 40] [--seconds 10] [--pairs 6]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
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

import numpy as np

CONNECTIONS = 16
ROW = {"sepal length (cm)": 5.1, "sepal width (cm)": 3.5, "petal length (cm)": 1.4, "petal width (cm)": 0.2}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true", help="only prove that it runs")
    parser.add_argument("--rate", type=float, default=40.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--pairs", type=int, default=6)
    options = parser.parse_args()
    seconds, pairs = (1.0, 1) if options.tiny else (options.seconds, options.pairs)
    with tempfile.TemporaryDirectory() as folder, service(Path(folder)) as port:
        asyncio.run(phase(port, options.rate, 6.0, checks=False))  # fills the window
        trigger(port)  # Evidently is loaded once
        without, during = [], []
        print(
            "| pair | p50 / p99 without a check, ms | p50 / p99 while checks run, ms | checks | p99 ratio |"
        )
        print("| --- | --- | --- | --- | --- |")
        for pair in range(1, pairs + 1):
            quiet, _ = asyncio.run(phase(port, options.rate, seconds, checks=False))
            busy, checks = asyncio.run(phase(port, options.rate, seconds, checks=True))
            without.append(float(np.quantile(quiet, 0.99)))
            during.append(float(np.quantile(busy, 0.99)))
            shown = [f"{np.quantile(x, 0.5):.1f} / {np.quantile(x, 0.99):.1f}" for x in (quiet, busy)]
            print(
                f"| {pair} | {shown[0]} | {shown[1]} | {checks} | {during[-1] / without[-1]:.2f} |",
                flush=True,
            )
    ratios = [b / a for a, b in zip(without, during, strict=True)]
    print(
        f"\nMedian ratio of the p99: {statistics.median(ratios):.2f} ({options.rate:.0f} requests a second)"
    )


async def phase(port: int, rate: float, seconds: float, *, checks: bool) -> tuple[list[float], int]:
    """Send for some seconds; give every latency in milliseconds, from the moment each request was due."""
    latencies: list[float] = []
    due = iter(time.perf_counter() + np.arange(int(rate * seconds)) / rate)
    body = json.dumps(ROW).encode()
    headers = f"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    request = f"POST /predict HTTP/1.1\r\n{headers}\r\n\r\n".encode() + body

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for at in due:
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert b" 200 " in answer.split(b"\r\n", 1)[0], answer
            length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            latencies.append((time.perf_counter() - at) * 1000)
        writer.close()

    over = asyncio.Event()

    async def check_after_check() -> int:
        count = 0
        while checks and not over.is_set():
            await asyncio.to_thread(trigger, port)
            count += 1
        return count

    checking = asyncio.create_task(check_after_check())
    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    over.set()
    return latencies, await checking


def trigger(port: int) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/monitor/trigger_now", method="POST")
    with urllib.request.urlopen(request, timeout=120) as answer:
        assert json.load(answer)["report_url"]


def ready(port: int) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as answer:
        return bool(json.load(answer)["monitor"] == "running")
    return False


@contextlib.contextmanager
def service(folder: Path, **more: str) -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "DATA_DIR": str(folder),
        "SERVER__PORT": str(port),
        "CHECK__EVERY": "off",
        "SERVER__ACCESS_LOG": "true",
        **more,
    }
    environment = {**os.environ, **{f"DRIFTBELL_{k}": v for k, v in settings.items()}}
    with (folder / "out").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "driftbell", "up"], env=environment, stdout=out, cwd=folder
        )
    try:
        deadline = time.monotonic() + 60
        while not ready(port):
            assert time.monotonic() < deadline, (folder / "out").read_text()
            time.sleep(0.1)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(40)


if __name__ == "__main__":
    main()
