"""Measure how often unchanged values seem to be outside the range of a small reference.

For several distributions and sizes of the reference: the share of blocks with a `chance_outside` below a
limit. Such a block has the answer that nobody can tell, so the share should not exceed the limit.

    python bench/rare_values.py [--tiny] [--draws 20000] [--limit 0.001]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import numpy as np

from driftbell.degradation.rare_values import chance_outside

DISTRIBUTIONS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "Student's t, 3 degrees of freedom": lambda rng, n: rng.standard_t(3, n),
    "log-normal": lambda rng, n: rng.lognormal(size=n),
    "uniform": lambda rng, n: rng.random(n),
    "Cauchy": lambda rng, n: rng.standard_cauchy(n),
}
REFERENCES = (150, 1000, 5000)


def rate(name: str, reference: int, block: int, draws: int, limit: float, seed: int = 0) -> float:
    """Return the share of unchanged blocks with a smaller probability than a limit."""
    rng, draw = np.random.default_rng(seed), DISTRIBUTIONS[name]
    below = [chance_outside(np.sort(draw(rng, reference)), draw(rng, block)) < limit for _ in range(draws)]
    return float(np.mean(below))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="only prove that it runs")
    parser.add_argument("--draws", type=int, default=20_000)
    parser.add_argument("--block", type=int, default=500)
    parser.add_argument("--limit", type=float, default=0.001)
    options = parser.parse_args()
    draws = 10 if options.tiny else options.draws
    print("| distribution | " + " | ".join(f"reference of {n:,} rows" for n in REFERENCES) + " |")
    print("| --- " * (len(REFERENCES) + 1) + "|")
    for name in DISTRIBUTIONS:
        shares = [rate(name, n, options.block, draws, options.limit) for n in REFERENCES]
        cells = [f"{share:.5f}" for share in shares]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    error = math.sqrt(options.limit / draws)
    print(f"\n{draws:,} draws, limit {options.limit:g}, standard error of a share {error:.5f}.")


if __name__ == "__main__":
    main()
