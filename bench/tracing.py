"""What tracing costs the callers of `/predict`: off, on, and on with a collector that hangs, in one run.

Three real services on loopback with the Iris forest take turns; requests arrive at a steady rate.

    python bench/tracing.py [--tiny] [--rate 40] [--seconds 10] [--rounds 6]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import socket
import statistics
import tempfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np

from latency import phase, service


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true", help="only prove that it runs")
    parser.add_argument("--rate", type=float, default=40.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=6)
    options = parser.parse_args()
    seconds, rounds = (1.0, 1) if options.tiny else (options.seconds, options.rounds)
    with contextlib.ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        hung = stack.enter_context(
            socket.create_server(("127.0.0.1", 0))
        )  # the kernel accepts, nobody answers
        collector = multiprocessing.get_context("fork").Process(
            target=collect, args=(listening,), daemon=True
        )
        collector.start()
        stack.callback(collector.terminate)
        ports = {}
        for name, to in {"off": None, "on": listening, "hung": hung}.items():
            (place / name).mkdir()
            more = {"TRACING__ENDPOINT": f"http://127.0.0.1:{to.getsockname()[1]}"} if to else {}
            ports[name] = stack.enter_context(service(place / name, **more))
            asyncio.run(phase(ports[name], options.rate, 1.0, checks=False))  # warms it up
        print("| round | " + " | ".join(f"{name}: p50 / p99, ms" for name in ports) + " |")
        print("| --- |" + " --- |" * len(ports))
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in ports}
        for number in range(1, rounds + 1):
            for name, port in ports.items():
                latencies, _ = asyncio.run(phase(port, options.rate, seconds, checks=False))
                found[name].append((float(np.quantile(latencies, 0.5)), float(np.quantile(latencies, 0.99))))
            shown = " | ".join(f"{found[n][-1][0]:.1f} / {found[n][-1][1]:.1f}" for n in ports)
            print(f"| {number} | {shown} |", flush=True)
    print()
    for name in ("on", "hung"):
        for which, quantile in enumerate(("p50", "p99")):
            ratios = [b[which] / a[which] for a, b in zip(found["off"], found[name], strict=True)]
            print(f"Median ratio of the {quantile}, {name} to off: {statistics.median(ratios):.2f}")


def collect(listening: socket.socket) -> None:
    """Take every batch of spans and forget it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listening
    server.serve_forever()


if __name__ == "__main__":
    main()
