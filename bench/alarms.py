"""Measure false alarms, detected and missed degradation, and delays, of driftbell and of its peers.

A model is fitted on 5,000 rows; a reference of 5,000 and a stream of windows follow. After window 20 the
data change, and the loss is measured: more than two points of accuracy (10 % of the error of a regression)
is harmful, less than half of that harmless; losses between count for neither.
Data: generators, and Electricity, NOAA weather, ACS employment and car loans as Parquet files in the folder
--data. Peers (a file each in bench/alarm/peers, and those of --peer) run in the Pythons of --peer-python; one
that none of them has is skipped and named.

    python bench/alarms.py [--tiny] [--data FOLDER] [--peer-python PYTHON] [--seeds 10] [--write]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

import driftbell
from alarm import score
from alarm.data import Frame, datasets, nannyml_data
from alarm.methods import BUDGET, MODES, OURS, Outcome, controls, ours
from alarm.processes import Peers, peer_files
from alarm.scenarios import LABEL, MODELS, SCENARIOS, NotApplicableError, Run, scenario

DOCUMENT = Path(__file__).parent.parent / "docs" / "concepts" / "benchmark.md"
BEGIN, END = "<!-- printed by bench/alarms.py -->", "<!-- end of what bench/alarms.py printed -->"
BEGIN_SIZES, END_SIZES = "<!-- sizes, printed by bench/alarms.py -->", "<!-- end of the sizes -->"
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
    result = merged(options.outcomes) if options.outcomes else measurement(options)
    saved(result, options.json)
    print("\n".join(report(result)))
    if options.write:
        written(result)


def measurement(options: argparse.Namespace) -> dict[str, Any]:
    """Return the outcomes of all runs, the versions, and the peers that could not be loaded."""
    frames = datasets(options.data, shipped=options.shipped)
    if options.datasets:
        frames = {name: frames[name] for name in options.datasets}
    every = list(jobs(frames, options))
    with ProcessPoolExecutor(options.jobs, initializer=started, initargs=(frames, options)) as pool:
        try:
            result = pool.submit(about_peers).result()
        except BrokenProcessPool:
            raise SystemExit("the processes of the benchmark could not start; the reason is above") from None
        for line in result["skipped"]:
            print(line, file=sys.stderr)
        for done, rows in enumerate(pool.map(one, every), 1):
            if sys.stderr.isatty():
                print(f"\r{done} of {len(every)} runs", end="", file=sys.stderr, flush=True)
            result["rows"] += rows
            saved(result, options.json)
    return result


def about_peers() -> dict[str, Any]:
    """Return the outcomes before the first run, with versions and the peers that could not be loaded."""
    peers: Peers = _state["peers"]
    versions = {"driftbell": driftbell.__version__, **peers.versions}
    return {"versions": versions, "skipped": list(skipped(peers)), "rows": []}


def saved(result: dict[str, Any], path: Path | None) -> None:
    """Write the outcomes so far, so that an interrupted run leaves those of its whole runs."""
    if path is not None:
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(result))
        partial.replace(path)


def merged(files: list[Path]) -> dict[str, Any]:
    """Return the outcomes of several files of --json as one."""
    parts = [json.loads(path.read_text()) for path in files]
    return {
        "versions": {name: version for part in parts for name, version in part["versions"].items()},
        "skipped": list(dict.fromkeys(line for part in parts for line in part["skipped"])),
        "rows": [row for part in parts for row in part["rows"]],
    }


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
    parser.add_argument("--within", type=float, default=0.0, help="share of its window before a change")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--no-driftbell", action="store_true", help="only the peers")
    parser.add_argument("--peer-python", nargs="+", help="Pythons that have peers; this one if not given")
    parser.add_argument("--peer", nargs="+", type=Path, default=[], help="files with further peers")
    parser.add_argument("--json", type=Path, help="file for all outcomes")
    parser.add_argument("--outcomes", nargs="+", type=Path, help="print the tables of files of --json")
    parser.add_argument("--write", action="store_true", help=f"write the tables into {DOCUMENT.name}")
    options = parser.parse_args()
    if options.tiny:
        options.data, options.shipped, options.datasets = None, None, ["linear"]
        options.seeds, options.months = 1, 0
        options.scenarios, options.modes = ("none", "stuck"), ["none", "late"]
        options.windows, options.reference_rows = 3, [1000]
    if options.no_peers or (options.tiny and not options.peer_python):
        options.peer_python = []
    elif not options.peer_python:
        options.peer_python = [sys.executable]
    options.peer = [path.resolve() for path in options.peer]
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


_state: dict[str, Any] = {}


def started(frames: dict[str, Frame], options: argparse.Namespace) -> None:
    """Set up a process of the pool with its data and peers."""
    peers = Peers(options.peer_python, [*peer_files(), *options.peer])
    _state.update(frames=frames, options=options, peers=peers)


def one(job: Job) -> list[Row]:
    options, frame = _state["options"], _state["frames"][job.dataset]
    if job.months:
        return months(frame, job)
    try:
        sizes = {"reference_rows": job.reference_rows, "window_rows": job.window_rows}
        sizes |= {"before": options.windows, "after": options.windows}
        run = scenario(job.name, frame, job.seed, job.model, within=options.within, **sizes)
    except NotApplicableError:
        return []
    return [described(run, outcome) for outcome in outcomes(run, options)]


def outcomes(run: Run, options: argparse.Namespace) -> Iterator[Outcome]:
    for mode in options.modes:
        if not options.no_driftbell:
            yield ours(run, mode, BUDGET)
        yield from controls(run, mode)
        yield from _state["peers"].ask(run, mode)
    if run.name == "none" and run.seed == options.first_seed:
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


def report(result: dict[str, Any]) -> Iterator[str]:
    rows = result["rows"]
    controlled = [row for row in rows if row["scenario"] != "months"]
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    yield f"{runs_of(controlled)} {versions}."
    for mode, words in MODES.items():
        if any(row["mode"] == mode for row in controlled):
            yield f"\n**{words[0].upper()}{words[1:]}**, budget {BUDGET}\n"
            yield from score.table(controlled, mode)
    excluded = [*score.excluded(controlled), *result["skipped"]]
    if excluded:
        yield from ("\n**Runs and peers that are not in the tables**\n", *(f"- {line}" for line in excluded))
    costs = [row for row in rows if row["mode"] == "cost" and score.is_result(row)]
    for method in dict.fromkeys(row["method"] for row in costs):
        spent = [row["cpu_ms"] for row in costs if row["method"] == method]
        yield f"\n{method}: {np.median(spent):,.0f} ms of CPU a check, the median of {len(spent)} runs."
    yield from by_sizes(controlled)
    if any(row["method"] == OURS for row in controlled):
        yield from ("\n**driftbell by scenario**\n", *score.by_scenario(controlled, OURS))
    promised = [row for row in rows if row["scenario"] == "months"]
    for mode in dict.fromkeys(row["mode"] for row in promised):
        opened = [score.openings(row["alarms"]) for row in promised if row["mode"] == mode]
        count = len(opened) * MONTHS_A_RUN
        yield f"\nUnchanged, {count} simulated months, one alarm a month allowed, {MODES[mode]}: "
        yield f"{sum(opened) / count:.2f} a month."


def runs_of(rows: list[Row]) -> str:
    """Return the numbers of runs, seeds and data sets in words."""
    runs = {(row["scenario"], row["dataset"], row["model"], row["seed"]) for row in rows}
    seeds, names = len({run[3] for run in runs}), len({run[1] for run in runs})
    return f"{len(runs)} runs: {len({run[0] for run in runs})} scenarios, {seeds} seeds, {names} data sets."


def skipped(peers: Peers) -> Iterator[str]:
    """Yield a line for each file of peers that no Python could load."""
    for file, problem in peers.missing.items():
        yield f"skipped {Path(file).stem}, because its package is not installed: {problem}"
    for file, problem in peers.failed.items():
        yield f"{Path(file).stem} could not be loaded: {problem}"


def has_sizes(rows: list[Row]) -> bool:
    """Return whether the runs have several sizes of windows or references."""
    return len({(row["window_rows"], row["reference_rows"]) for row in rows}) > 1


def by_sizes(rows: list[Row]) -> Iterator[str]:
    """Yield the tables of driftbell for all sizes and for each, if there are several."""
    mine = [row for row in rows if row["method"] == OURS]
    for mode in MODES if has_sizes(mine) else ():
        named = [{**row, "method": "all sizes"} for row in mine]
        for size, words in (("window_rows", "windows"), ("reference_rows", "references")):
            for rows_each in sorted({row[size] for row in mine}):
                name = f"{words} of {rows_each:,} rows"
                named += [{**row, "method": name} for row in mine if row[size] == rows_each]
        if any(row["mode"] == mode for row in mine):
            yield f"\n**driftbell by size, {MODES[mode]}**\n"
            yield from score.table(named, mode)


def written(result: dict[str, Any]) -> None:
    """Write the tables into their part of the document."""
    begin, end, lines = BEGIN, END, report(result)
    controlled = [row for row in result["rows"] if row["scenario"] != "months"]
    if has_sizes(controlled):
        begin, end = BEGIN_SIZES, END_SIZES
        lines = iter([runs_of(controlled), *by_sizes(controlled)])
    before, rest = DOCUMENT.read_text(encoding="utf-8").split(begin)
    text = "\n".join(lines).strip()
    DOCUMENT.write_text(f"{before}{begin}\n{text}\n{end}{rest.split(end)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
