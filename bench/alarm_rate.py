"""Measure how many false alarms about performance open in unchanged months, and how late a loss is detected.

Many kinds of streams, each against references that are drawn anew, with a budget of one false alarm a month:
15,000 rows in 30 blocks. The same rows are watched by checks every 50 rows and by one check a day. In one
more month, twice the smallest loss begins after five days. References differ more than months against one of
them, so many references with few months tell the rate best.

    python bench/alarm_rate.py [--tiny] [--references 2500] [--months 4] [--streams bursts ...] [--write]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from alarm.months import simulate
from alarm.worlds import BLOCK, CHANGE_SIZE, OFTEN, WORLDS

DOCUMENT = Path(__file__).parent.parent / "docs" / "concepts" / "alarms.md"
BEGIN, END = "<!-- printed by bench/alarm_rate.py -->", "<!-- end of what bench/alarm_rate.py printed -->"


HEADER = (
    "| stream | rows of the reference | references × months "
    f"| false alarms a month, checks every {OFTEN} rows | every {BLOCK} rows "
    f"| delay in rows, checks every {OFTEN} rows | every {BLOCK} rows |",
    "| --- " * 7 + "|",
)


LOSS = f"The loss of the delays is {CHANGE_SIZE:g} times the smallest loss."


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true", help="only prove that it runs")
    parser.add_argument("--references", type=int, default=2500, help="references of each stream")
    parser.add_argument("--months", type=int, default=4, help="months against each reference")
    parser.add_argument("--streams", nargs="+", choices=WORLDS, default=list(WORLDS), metavar="NAME")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help=f"write the rows into {DOCUMENT.name}")
    options = parser.parse_args()
    references, months = (2, 1) if options.tiny else (options.references, options.months)
    print("\n".join(HEADER), flush=True)
    rows = {}
    for name in options.streams:
        rows[name] = row(name, options.seed, references, months)
        print(rows[name], flush=True)
    print(f"\n{LOSS}")
    if options.write:
        write(rows)


def row(name: str, seed: int, references: int, months: int) -> str:
    """Return the row of one kind of stream, with 95 % intervals of the rates."""
    results = simulate(WORLDS[name], seed, references, months)
    rates = ["{:.2f} ({:.2f} to {:.2f})".format(*result.rate) for result in results]
    delays = [f"{result.delay[0]:,.0f}" for result in results]
    cells = [name, f"{WORLDS[name].reference:,}", f"{references:,} × {months}", *rates, *delays]
    return f"| {' | '.join(cells)} |"


def write(rows: dict[str, str]) -> None:
    """Write rows of the table between its markers, and keep those of other streams."""
    before, rest = DOCUMENT.read_text(encoding="utf-8").split(BEGIN)
    table, after = rest.split(END)
    known = {line.split("|")[1].strip(): line for line in table.splitlines() if line.startswith("| ")}
    lines = [(known | rows)[name] for name in WORLDS if name in known | rows]
    text = "\n".join([BEGIN, *HEADER, *lines, "", LOSS, END])
    DOCUMENT.write_text(f"{before}{text}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
