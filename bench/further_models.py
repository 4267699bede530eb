"""Rate of `/models/twin/predict` beside `/predict` in the same run: one service, the same model twice.

A real `driftbell up` on loopback with the Iris forest as the main and as a further model, 16 connections.

    python bench/further_models.py [--tiny] [--seconds 5] [--rounds 3]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path

from latency import CONNECTIONS, ROW, service

PATHS = ("/predict", "/models/twin/predict")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true", help="only prove that it runs")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    seconds, rounds = (0.5, 1) if options.tiny else (options.seconds, options.rounds)
    rates: dict[str, list[float]] = {path: [] for path in PATHS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        twin = f'data_dir = "{folder / "twin"}"\n[model]\nname = "twin"\n[check]\nevery = "off"\n'
        (folder / "twin.toml").write_text(twin)
        with service(folder, MODELS=f"twin={folder / 'twin.toml'}") as port:
            for _ in range(rounds):
                for path in PATHS:
                    rates[path].append(asyncio.run(rate(port, path, seconds)))
    print("| path | requests a second | ratio |\n| --- | --- | --- |")
    first = statistics.median(rates[PATHS[0]])
    for path, own in rates.items():
        print(f"| `{path}` | {statistics.median(own):,.0f} | {statistics.median(own) / first:.2f} |")


async def rate(port: int, path: str, seconds: float) -> float:
    """Send requests one after the other on each connection; return the answers a second."""
    body = json.dumps(ROW).encode()
    head = f"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    request = f"POST {path} HTTP/1.1\r\n{head}\r\n\r\n".encode() + body
    started = time.perf_counter()

    async def connection() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answers = 0
        while time.perf_counter() < started + seconds:
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert b" 200 " in answer.split(b"\r\n", 1)[0], answer
            length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            answers += 1
        writer.close()
        return answers

    answers = await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    return sum(answers) / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
