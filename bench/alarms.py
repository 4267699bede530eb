"""Measure false alarms, detected and missed degradation, and delays, of driftbell and of its peers.

A model is fitted on 5,000 rows; a reference of 5,000 and a stream of windows follow. After window 20 the
data change, and the loss is measured: more than two points of accuracy (10 % of the error of a regression)
is harmful, less than half of that harmless; losses between count for neither.
Data: generators, and Electricity, NOAA weather, ACS employment and car loans as Parquet files in the folder
--data. Peers that this Python lacks are run in the Pythons of --peer-python.

    python bench/alarms.py [--tiny] [--data FOLDER] [--seeds 10] [--jobs 1] [--json FILE] [--write]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from alarm import score
from alarm.data import Frame, datasets, nannyml_data
from alarm.methods import ALWAYS, COIN, MODES, OURS, Outcome, Peers, controls, ours
from alarm.scenarios import LABEL, MODELS, SCENARIOS, NotApplicableError, Run, scenario

DOCUMENT = Path(__file__).parent.parent / "docs" / "concepts" / "benchmark.md"
BEGIN, END = "<!-- printed by bench/alarms.py -->", "<!-- end of what bench/alarms.py printed -->"
BUDGET = "1 per 1000 checks"
MONTH_WINDOWS, MONTHS_A_RUN = 30, 10
Row = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One run to execute: a scenario on a data set, or months of unchanged data."""

    name: str
    dataset: str
    seed: int
    model: str
    months: bool = False
    window_rows: int = 500
    reference_rows: int = 5000


def main() -> None:
    options = parsed()
    frames = datasets(options.data, shipped=options.shipped)
    if options.datasets:
        frames = {name: frames[name] for name in options.datasets}
    rows = list(measured(frames, options))
    if options.reuse:
        ourselves = (OURS, ALWAYS, COIN)
        rows += [r for r in json.loads(options.reuse.read_text()) if r["method"] not in ourselves]
    if options.json:
        options.json.write_text(json.dumps(rows))
    text = "\n".join(report(rows))
    print(text)
    if options.write:
        written(text)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    folder = os.environ.get("DRIFTBELL_BENCH_DATA")
    parser.add_argument("--tiny", action="store_true", help="a minimal run, for tests")
    parser.add_argument("--data", type=Path, default=folder and Path(folder), help="DRIFTBELL_BENCH_DATA")
    parser.add_argument("--shipped", type=Path, default=nannyml_data(), help="where nannyml keeps its data")
    parser.add_argument("--datasets", nargs="+", help="only these data sets")
    parser.add_argument("--scenarios", nargs="+", choices=SCENARIOS, default=SCENARIOS)
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--model", choices=(*MODELS, "each"), default="boosting", help="each: seed by seed")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--months", type=int, default=40, help="simulated months, for the false-alarm rate")
    parser.add_argument("--windows", type=int, default=20, help="windows before and after the change")
    parser.add_argument("--window-rows", type=int, nargs="+", default=[500], help="in turns, seed by seed")
    parser.add_argument("--reference-rows", type=int, nargs="+", default=[5000], help="in turns, as well")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--no-driftbell", action="store_true", help="only the peers")
    parser.add_argument("--peer-python", nargs="+", default=[sys.executable], help="Pythons that have peers")
    parser.add_argument("--reuse", type=Path, help="read the outcomes of peers from a file of --json")
    parser.add_argument("--json", type=Path, help="file for all outcomes")
    parser.add_argument("--write", action="store_true", help=f"write the tables into {DOCUMENT.name}")
    options = parser.parse_args()
    if options.tiny:
        options.data, options.shipped, options.datasets = None, None, ["linear"]
        options.seeds, options.months = 1, 0
        options.scenarios, options.modes = ("none", "stuck"), ["none", "late"]
        options.no_peers, options.windows, options.reference_rows = True, 3, [1000]
    return options


def jobs(frames: dict[str, Frame], options: argparse.Namespace) -> Iterator[Job]:
    """Yield every scenario once for each seed; the data sets take turns."""
    names = list(frames)
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        model = MODELS[seed % len(MODELS)] if options.model == "each" else options.model
        windows = options.window_rows[seed % len(options.window_rows)]
        references = options.reference_rows[seed // len(options.window_rows) % len(options.reference_rows)]
        for number, name in enumerate(options.scenarios):
            fitting = [n for n in names if fits(name, frames[n])]
            if fitting:
                dataset = fitting[(seed + number) % len(fitting)]
                yield Job(name, dataset, seed, model, window_rows=windows, reference_rows=references)
    generated = [n for n in names if not frames[n].in_time_order]
    if not options.no_driftbell:
        for run in range(options.months // MONTHS_A_RUN if generated else 0):
            yield Job("none", generated[run % len(generated)], 1000 + run, "boosting", months=True)


def fits(name: str, frame: Frame) -> bool:
    return {
        "natural": frame.in_time_order,
        "renamed category": bool(frame.categorical()),
        "class shares": not frame.regression,
        "bias of little": len(frame.numeric()) > 1,
        "two moved": len(frame.numeric()) > 1,
        "several frozen": len(frame.numeric()) > 1,
        "old then new": len(frame.numeric()) > 1,
        "sparse shifted": bool(frame.sparse()),
        "calendar": bool(frame.calendar()),
    }.get(name, True)


def measured(frames: dict[str, Frame], options: argparse.Namespace) -> Iterator[Row]:
    every = list(jobs(frames, options))
    if options.jobs == 1:
        started(frames, options)
        result: Iterable[list[Row]] = map(one, every)
    else:
        pool = ProcessPoolExecutor(options.jobs, initializer=started, initargs=(frames, options))
        result = pool.map(one, every)
    for done, rows in enumerate(result, 1):
        if sys.stderr.isatty():
            print(f"\r{done} of {len(every)} runs", end="", file=sys.stderr, flush=True)
        yield from rows
    if options.jobs == 1:
        _state["peers"].close()
    else:
        pool.shutdown()


_state: dict[str, Any] = {}


def started(frames: dict[str, Frame], options: argparse.Namespace) -> None:
    """Set up a worker with its data and peers."""
    without = options.no_peers or options.reuse
    _state.update(frames=frames, options=options, peers=Peers([] if without else options.peer_python))


def one(job: Job) -> list[Row]:
    options, frame = _state["options"], _state["frames"][job.dataset]
    if job.months:
        return months(frame, job)
    try:
        sizes = {"reference_rows": job.reference_rows, "window_rows": job.window_rows}
        sizes |= {"before": options.windows, "after": options.windows}
        run = scenario(job.name, frame, job.seed, job.model, **sizes)
    except NotApplicableError:
        return []
    return [described(run, outcome) for outcome in outcomes(run, options)]


def outcomes(run: Run, options: argparse.Namespace) -> Iterator[Outcome]:
    for mode in options.modes:
        if not options.no_driftbell:
            yield ours(run, mode, BUDGET)
        yield from controls(run, mode)
        if _state["peers"].workers:
            yield from _state["peers"].ask(run, mode)
    if _state["peers"].workers and run.name == "none" and run.seed == options.first_seed:
        yield from _state["peers"].ask(run, "cost", windows=3)


def months(frame: Frame, job: Job) -> list[Row]:
    """Run ten months of unchanged data, one check a day, against a reference of five windows."""
    run = scenario("none", frame, job.seed, reference_rows=2500, before=MONTH_WINDOWS * MONTHS_A_RUN, after=0)
    return [
        {**described(run, ours(run, mode, "1 per 30d", timedelta(days=1))), "scenario": "months"}
        for mode in ("none", "all")
    ]


def described(run: Run, outcome: Outcome) -> Row:
    truth = {"scenario": run.name, "dataset": run.dataset, "model": run.model, "seed": run.seed}
    truth |= {"window_rows": run.window_rows, "regression": run.regression}
    truth |= {"reference_rows": len(run.reference[LABEL])}
    truth |= {"change": run.change, "harmful": run.harmful, "loss": run.loss, "columns": list(run.columns)}
    return {**truth, "window_harmful": list(run.window_harmful), **asdict(outcome)}


def report(rows: list[Row]) -> Iterator[str]:
    controlled = [row for row in rows if row["scenario"] != "months"]
    for mode, words in MODES.items():
        if any(row["mode"] == mode for row in controlled):
            yield f"\n**{words[0].upper()}{words[1:]}**, budget {BUDGET}\n"
            yield from score.table(controlled, mode)
    yield from by_sizes(controlled)
    if any(row["method"] == OURS for row in controlled):
        yield from ("\n**driftbell by scenario**\n", *score.by_scenario(controlled, OURS))
    promised = [row for row in rows if row["scenario"] == "months"]
    for mode in dict.fromkeys(row["mode"] for row in promised):
        opened = [score.openings(row["alarms"]) for row in promised if row["mode"] == mode]
        count = len(opened) * MONTHS_A_RUN
        yield f"\nUnchanged, {count} simulated months, one alarm a month allowed, {MODES[mode]}: "
        yield f"{sum(opened) / count:.2f} a month."
    for row in rows:
        if row["mode"] == "cost":
            yield f"\n{row['method']}: {row['problem'] or format(row['cpu_ms'], '.0f') + ' ms of CPU'}"


def by_sizes(rows: list[Row]) -> Iterator[str]:
    """Yield the tables of driftbell by size of window and reference, if there are several."""
    mine = [row for row in rows if row["method"] == OURS]
    for size, words in (("window_rows", "rows a window"), ("reference_rows", "rows of the reference")):
        sizes = sorted({row[size] for row in mine})
        for mode in MODES if len(sizes) > 1 else ():
            if any(row["mode"] == mode for row in mine):
                yield f"\n**driftbell by {words}, {MODES[mode]}**\n"
                named = [{**row, "method": f"{row[size]:,}"} for row in mine]
                yield from score.table(sorted(named, key=lambda row: row[size]), mode)


def written(text: str) -> None:
    """Write the tables between the two markers of the document."""
    before, rest = DOCUMENT.read_text(encoding="utf-8").split(BEGIN)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{text.strip()}\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
