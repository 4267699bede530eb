"""Process that runs peers: `python -m alarm.worker FILE …`, in the Python that has their packages.

Its first line of output is a JSON object about the peers of the files. After that, it reads pickled tasks
(made by `alarm.processes.task_of`), and answers each with a line of JSON for each of its peers.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import math
import os
import pickle
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import fields
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from alarm.peer import MODES, Array, NotForThisError, Peer, Reference, Table, Verdict, Window

Task = dict[str, Any]
LONGEST_PROBLEM = 200


def loaded(file: Path) -> list[type[Peer]]:
    """Return the peers that a file defines.

    Raises:
        TypeError: a peer lacks its name, or has an unknown mode.
    """
    spec = importlib.util.spec_from_file_location(f"peer_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return list(peers_in(module))


def peers_in(module: ModuleType) -> Iterator[type[Peer]]:
    """Yield the classes of a module with a name for a row."""
    for peer in vars(module).values():
        if not (inspect.isclass(peer) and issubclass(peer, Peer) and peer.__module__ == module.__name__):
            continue
        if "name" not in vars(peer):
            continue  # a base class of others
        if unknown := set(peer.modes) - set(MODES):
            raise TypeError(f"{peer.__name__}.modes has {sorted(unknown)}; the modes are {', '.join(MODES)}")
        if inspect.isabstract(peer):
            raise TypeError(f"{peer.__name__} lacks {', '.join(sorted(peer.__abstractmethods__))}")
        yield peer


def described(file: Path) -> tuple[list[type[Peer]], dict[str, Any]]:
    """Load a file; return its peers, and their description or why there are none."""
    try:
        peers = loaded(file)
    except ImportError as error:
        return [], {"missing": str(error)}
    except Exception as error:  # noqa: BLE001 - a failed import is a result about the peer
        return [], {"failed": reason(error)}
    versions = {peer.package: metadata.version(peer.package) for peer in peers if peer.package}
    return peers, {"modes": {peer.name: peer.modes for peer in peers}, "versions": versions}


def reason(error: Exception) -> str:
    """Return an error as one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST_PROBLEM]


def errors_of(task: Task, rows: Table) -> Array:
    """Return 1 for a wrong class and 0 for a right one, or the absolute error."""
    answers, truth = rows[task["prediction"]], rows[task["label"]]
    if not task["probabilities"]:
        return np.asarray(np.abs(answers.astype(np.float64) - truth.astype(np.float64)))
    return np.asarray(answers != truth, dtype=np.float64)


def reference_of(task: Task) -> Reference:
    """Return what a peer is fitted on."""
    given = {f.name: task[f.name] for f in fields(Reference) if f.name in task}
    return Reference(**given, rows=dict(task["reference"]), errors=errors_of(task, task["reference"]))


def window_of(task: Task, index: int) -> Window:
    """Return one window of the stream, and the labels that arrive with it."""

    def part(number: int) -> slice:
        return slice(number * task["window_rows"], (number + 1) * task["window_rows"])

    rows = {name: cells[part(index)] for name, cells in task["stream"].items() if name != task["label"]}
    earlier = part(index - task["delay"]) if index >= task["delay"] else slice(0, 0)
    known = task["known"][earlier]
    labelled = {name: cells[earlier][known] for name, cells in task["stream"].items()}
    return Window(rows, labelled, errors_of(task, labelled))


def run(peer: Peer, task: Task) -> dict[str, Any]:
    """Fit a peer and check every window; measure the CPU time of both."""
    reference = reference_of(task)
    start = time.process_time()
    peer.fit(reference)
    result: dict[str, Any] = {"fit_s": time.process_time() - start}
    verdicts, spent = [], 0.0
    for index in range(task["windows"]):
        window = window_of(task, index)
        start = time.process_time()
        verdict = Verdict(*peer.check(window))
        spent += time.process_time() - start
        if not math.isfinite(verdict.score):
            raise ValueError(f"the score of window {index + 1} is {verdict.score}")
        verdicts.append(verdict)
    result["cpu_ms"] = spent * 1000 / max(len(verdicts), 1)
    result["alarms"] = [int(verdict.alarm) for verdict in verdicts]
    result["scores"] = [float(verdict.score) for verdict in verdicts]
    if any(verdict.cannot_tell is not None for verdict in verdicts):
        result["unknown"] = [int(bool(verdict.cannot_tell) and not verdict.alarm) for verdict in verdicts]
    if any(verdict.interval is not None for verdict in verdicts):
        result["intervals"] = [interval_of(verdict) for verdict in verdicts]
    return result


def interval_of(verdict: Verdict) -> list[float] | None:
    """Return an interval as JSON has it."""
    return None if verdict.interval is None else [float(end) for end in verdict.interval]


def answer(peer: type[Peer], task: Task) -> dict[str, Any]:
    """Run a new instance of a peer; a failure is an answer with its reason."""
    try:
        return run(peer(), task)
    except NotForThisError as error:
        return {"unsupported": str(error)}
    except Exception as error:  # noqa: BLE001 - a failure is a result about the peer
        return {"problem": reason(error)}


def main() -> None:
    warnings.simplefilter("ignore")
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints

    def send(message: dict[str, Any]) -> None:
        out.write(json.dumps(message) + "\n")
        out.flush()

    files = {name: described(Path(name)) for name in sys.argv[1:]}
    send({name: description for name, (_, description) in files.items()})
    peers = {peer.name: peer for classes, _ in files.values() for peer in classes}
    while True:
        try:
            task = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        for name in task["peers"]:
            send({"method": name, **answer(peers[name], task)})


if __name__ == "__main__":
    main()
