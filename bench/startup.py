"""How long it takes until one can work: the import, and the service with a cached model, in fresh processes.

Beside the import in the same run: numpy, scipy.stats and scikit-learn, which everybody in this field knows.

    python bench/startup.py [--tiny] [--runs 9]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from latency import service

MODULES = ("driftbell", "numpy", "scipy.stats", "sklearn.ensemble")
TIMED = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true", help="only prove that it runs")
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    runs = 1 if options.tiny else options.runs
    seconds: dict[str, list[float]] = {name: [] for name in MODULES}
    for _ in range(runs):
        for name in MODULES:
            done = subprocess.run(
                [sys.executable, "-c", TIMED.format(name)], capture_output=True, check=True, text=True
            )
            seconds[name].append(float(done.stdout))
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    print("| import | median, s | driftbell / it |\n| --- | --- | --- |")
    for name, median in medians.items():
        print(f"| {name} | {median:.2f} | {medians['driftbell'] / median:.2f} |")
    started = []
    with tempfile.TemporaryDirectory() as folder:
        for run in range(runs + 1):
            start = time.perf_counter()
            with service(Path(folder)) as port:
                took = time.perf_counter() - start
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as answer:
                    assert answer.status == 200
            if run:  # the first one trained the model
                started.append(took)
    ready_after = statistics.median(started)
    print(f"\n`driftbell up` with a cached model, server and monitor ready: {ready_after:.1f} s (median)")


if __name__ == "__main__":
    main()
