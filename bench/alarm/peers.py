"""Peers at their defaults, in the Python that has them: `python -m alarm.peers` answers tasks on its input.

A task is a pickled mapping (made by `alarm.methods.task_of`); an answer is one line of JSON. Nothing of
driftbell is imported here, so that a peer may live in an environment of its own.
"""

from __future__ import annotations

import json
import pickle
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Task = dict[str, Any]
Judge = Callable[[int], tuple[bool, float]]
Maker = Callable[[Task], Judge]


class NotForThisError(Exception):
    """The peer does not support such data."""


def rows_of(task: Task, index: int) -> dict[str, Array]:
    """Return one window of the stream."""
    size = task["window"]
    return {name: column[index * size : (index + 1) * size] for name, column in task["stream"].items()}


def inputs_of(task: Task) -> list[str]:
    """Return the columns of a drift test: features, prediction, probabilities."""
    return [*task["features"], task["prediction"], *task["probabilities"].values()]


def is_number(column: Array) -> bool:
    """Return whether a column is numeric."""
    return column.dtype == np.float64


def texts(column: Array) -> list[str | None]:
    """Return every cell as a text."""
    return [None if v is None else str(v) for v in column.tolist()]


def errors_of(task: Task, table: dict[str, Array]) -> Array:
    """Return 1 for a wrong class and 0 for a right one, or the absolute error."""
    answers, truth = table[task["prediction"]], table[task["label"]]
    if not task["probabilities"]:
        return np.asarray(np.abs(answers.astype(np.float64) - truth.astype(np.float64)))
    return np.asarray(answers != truth, dtype=np.float64)


def arrived(task: Task, index: int) -> Array:
    """Return the errors with labels that arrive in one window, in the order of the rows."""
    size, which = task["window"], index - task["delay"]
    if which < 0:
        return np.empty(0)
    window = slice(which * size, (which + 1) * size)
    return np.asarray(errors_of(task, rows_of(task, which))[task["known"][window]])


def evidently(task: Task) -> Judge:
    """Evidently's test for each column, as chosen by its drift preset; alarm at any column."""
    import pandas as pd
    from evidently.legacy.calculations.stattests import get_stattest
    from evidently.legacy.core import ColumnType

    names = inputs_of(task)
    series = {n: pd.Series(_plain(task["reference"][n])).replace([np.inf, -np.inf], np.nan) for n in names}

    def judge(index: int) -> tuple[bool, float]:
        rows, drifted = rows_of(task, index), 0
        for name in names:
            now = pd.Series(_plain(rows[name])).dropna()
            kind = ColumnType.Numerical if is_number(rows[name]) else ColumnType.Categorical
            before = series[name].dropna()
            if now.empty:
                continue  # its report leaves such a column out
            test = get_stattest(before, now, kind, None)
            drifted += test(before, now, kind, None).drifted
        share = drifted / len(names)
        return drifted > 0, share

    return judge


def evidently_report(task: Task) -> Judge:
    """Evidently's whole report, to measure its run time."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    names = inputs_of(task)
    numbers = [n for n in names if is_number(task["reference"][n])]
    kinds = DataDefinition(
        numerical_columns=numbers, categorical_columns=[n for n in names if n not in numbers]
    )
    before = Dataset.from_pandas(_frame(task["reference"], names), data_definition=kinds)

    def judge(index: int) -> tuple[bool, float]:
        now = Dataset.from_pandas(_frame(rows_of(task, index), names), data_definition=kinds)
        results = Report([DataDriftPreset()]).run(now, before).dict()["metrics"][0]["value"]
        return results["count"] > 0, float(results["share"])

    return judge


def _plain(column: Array) -> Any:
    return column if is_number(column) else texts(column)


def _frame(table: dict[str, Array], names: list[str]) -> Any:
    import pandas as pd

    return pd.DataFrame({name: _plain(table[name]) for name in names})


def _chunked(task: Task, calculator: Any, names: list[str], pick: Callable[[Any], Any]) -> Judge:
    """Fit a calculator of NannyML on the reference, and run it window by window."""
    calculator.fit(_frame(task["reference"], names))

    def judge(index: int) -> tuple[bool, float]:
        result = pick(calculator.calculate(_frame(rows_of(task, index), names)))
        return bool(result[0]), float(result[1])

    return judge


def nannyml_univariate(task: Task) -> Judge:
    """NannyML's univariate drift: any column alerts."""
    import nannyml

    names = inputs_of(task)
    calculator = nannyml.UnivariateDriftCalculator(column_names=names, chunk_size=task["window"])

    def pick(result: Any) -> tuple[bool, float]:
        outcome = result.filter(period="analysis").to_df()
        alerts = outcome.loc[:, [c for c in outcome.columns if c[-1] == "alert"]]
        share = float(alerts.iloc[-1].astype(float).mean())
        return share > 0, share

    return _chunked(task, calculator, names, pick)


def nannyml_estimate(task: Task) -> Judge:
    """NannyML's estimate without labels: CBPE for classes, DLE for numbers."""
    import nannyml

    class AsCalculator:
        def __init__(self, estimator: Any) -> None:
            self.fit, self.calculate = estimator.fit, estimator.estimate

    names = [*inputs_of(task), task["label"]]
    common: Any = {"y_true": task["label"], "y_pred": task["prediction"], "chunk_size": task["window"]}
    if not task["probabilities"]:
        calculator = nannyml.DLE(feature_column_names=task["features"], metrics=["mae"], **common)
        return _chunked(task, AsCalculator(calculator), names, lambda r: _estimated(r, "mae", 1))
    return _by_numbers(task, names, lambda more: AsCalculator(nannyml.CBPE(**common, **more)), "accuracy")


def nannyml_performance(task: Task) -> Judge:
    """NannyML's realized accuracy: outside three standard deviations of the reference's chunks."""
    import nannyml

    names = [*inputs_of(task), task["label"]]
    common: Any = {"y_true": task["label"], "y_pred": task["prediction"], "chunk_size": task["window"]}
    if not task["probabilities"]:
        calculator = nannyml.PerformanceCalculator(problem_type="regression", metrics=["mae"], **common)
        return _chunked(task, calculator, names, lambda r: _estimated(r, "mae", 1))
    return _by_numbers(task, names, lambda more: nannyml.PerformanceCalculator(**common, **more), "accuracy")


def _by_numbers(task: Task, names: list[str], make: Callable[[Any], Any], metric: str) -> Judge:
    """Encode two classes as 0 and 1 for a calculator of NannyML; more stay unchanged."""
    classes = list(task["probabilities"])
    if len(classes) > 2:
        more: Any = {"problem_type": "classification_multiclass", "y_pred_proba": task["probabilities"]}
        return _chunked(task, make({**more, "metrics": [metric]}), names, lambda r: _estimated(r, metric, -1))
    seen = {
        **task,
        "reference": _zero_one(task, task["reference"]),
        "stream": _zero_one(task, task["stream"]),
    }
    more = {"problem_type": "classification_binary", "y_pred_proba": task["probabilities"][classes[1]]}
    return _chunked(seen, make({**more, "metrics": [metric]}), names, lambda r: _estimated(r, metric, -1))


def _zero_one(task: Task, table: dict[str, Array]) -> dict[str, Array]:
    second = list(task["probabilities"])[1]
    both = (task["prediction"], task["label"])
    return {**table, **{name: (table[name] == second).astype(np.float64) for name in both}}


def _estimated(result: Any, metric: str, sign: int) -> tuple[bool, float]:
    outcome = result.filter(period="analysis").to_df()[metric].iloc[-1]
    low, high = outcome["lower_threshold"], outcome["upper_threshold"]
    worse = sign * (outcome["value"] - (low + high) / 2) / max((high - low) / 2, 1e-9)
    return bool(outcome["alert"]), float(worse)


def river_detector(task: Task, name: str) -> Judge:
    """A detector of river on the stream of errors, warmed up with those of the reference."""
    from river import drift

    if name == "HDDM_A" and not task["probabilities"]:
        raise NotForThisError("errors that are yes or no only")
    detector = drift.ADWIN() if name == "ADWIN" else drift.binary.HDDMA()
    return _streamed(task, detector.update, lambda: bool(detector.drift_detected))


def frouros_ddm(task: Task) -> Judge:
    """Frouros' DDM on the stream of errors, warmed up with those of the reference, reset after an alarm."""
    from frouros.detectors.concept_drift import DDM, DDMConfig

    if not task["probabilities"]:
        raise NotForThisError("errors that are yes or no only")
    detector = DDM(config=DDMConfig())

    def drifted() -> bool:
        result = bool(detector.status["drift"])
        if result:
            detector.reset()
        return result

    return _streamed(task, lambda error: detector.update(value=error), drifted)


def _streamed(task: Task, update: Callable[[float], Any], drifted: Callable[[], bool]) -> Judge:
    before = errors_of(task, task["reference"])
    for error in before.tolist():
        update(error)
        drifted()
    mean, spread = float(before.mean()), float(before.std()) + 1e-9

    def judge(index: int) -> tuple[bool, float]:
        new, alarmed = arrived(task, index), False
        for error in new.tolist():
            update(error)
            alarmed = drifted() or alarmed
        z = (new.mean() - mean) / spread * np.sqrt(len(new)) if len(new) else 0.0
        return alarmed, float(alarmed) + float(np.tanh(z / 10)) / 2  # the errors break ties

    return judge


def frouros_ks(task: Task) -> Judge:
    """Frouros' Kolmogorov–Smirnov test for each numeric column at 5 %; alarm at any."""
    from frouros.detectors.data_drift import KSTest

    detectors = {}
    for name in inputs_of(task):
        if is_number(task["reference"][name]):
            detectors[name] = KSTest()
            detectors[name].fit(X=_whole(task["reference"][name]))

    def judge(index: int) -> tuple[bool, float]:
        rows, smallest = rows_of(task, index), 1.0
        for name, detector in detectors.items():
            now = _whole(rows[name])
            if len(now):
                smallest = min(smallest, float(detector.compare(X=now)[0].p_value))
        return smallest < 0.05, -np.log10(max(smallest, 1e-300))

    return judge


def _whole(column: Array) -> Array:
    return column[np.isfinite(column)]


def alibi_tabular(task: Task) -> Judge:
    """alibi-detect's TabularDrift at its defaults: Bonferroni over columns at 5 %."""
    from alibi_detect.cd import TabularDrift

    names = inputs_of(task)
    codes, kinds = {}, {}
    for i, name in enumerate(names):
        column = task["reference"][name]
        if not is_number(column):
            seen = sorted({str(v) for v in column.tolist()})  # it stops at one that is in neither table
            codes[name] = {value: k for k, value in enumerate(seen)}
            kinds[i] = len(seen)

    def matrix(table: dict[str, Array]) -> Array:
        columns = []
        for name in names:
            column = table[name]
            if name in codes:
                column = np.array([codes[name].get(str(v), 0) for v in column.tolist()], dtype=np.float64)
            columns.append(np.nan_to_num(column))
        return np.column_stack(columns).astype(np.float32)

    detector = TabularDrift(matrix(task["reference"]), categories_per_feature=kinds or None)

    def judge(index: int) -> tuple[bool, float]:
        result = detector.predict(matrix(rows_of(task, index)))["data"]
        smallest = float(np.min(result["p_val"]))
        return bool(result["is_drift"]), -np.log10(max(smallest, 1e-300))

    return judge


ANY_COLUMN, HALF_THE_COLUMNS = "Evidently, any column", "Evidently, dataset rule"
WITHOUT_LABELS: dict[str, Maker] = {
    ANY_COLUMN: evidently,
    HALF_THE_COLUMNS: evidently,
    "NannyML univariate": nannyml_univariate,
    "NannyML CBPE or DLE": nannyml_estimate,
    "frouros KS, any column": frouros_ks,
    "alibi-detect TabularDrift": alibi_tabular,
}
REALIZED = "NannyML realized"
WITH_LABELS: dict[str, Maker] = {
    "river ADWIN": lambda task: river_detector(task, "ADWIN"),
    "river HDDM-A": lambda task: river_detector(task, "HDDM_A"),
    "frouros DDM": frouros_ddm,
    REALIZED: nannyml_performance,
}
ONLY_COST: dict[str, Maker] = {"Evidently, whole report": evidently_report}


def peers_of(mode: str) -> dict[str, Maker]:
    """Return the peers that support a mode."""
    late = {name: make for name, make in WITH_LABELS.items() if name != REALIZED}
    return {"none": WITHOUT_LABELS, "cost": ONLY_COST, "late": late}.get(mode, WITH_LABELS)


def measured(judge: Judge, windows: int) -> dict[str, Any]:
    """Run every window, and measure the CPU time."""
    alarms, scores = [], []
    start = time.process_time()
    for index in range(windows):
        alarm, score = judge(index)
        alarms.append(int(alarm))
        scores.append(round(float(score), 5))
    spent = (time.process_time() - start) * 1000 / max(windows, 1)
    return {"alarms": alarms, "scores": scores, "cpu_ms": spent}


def answers(task: Task) -> Iterator[dict[str, Any]]:
    """Run the peers of a task separately; a failed one reports its error."""
    for peer, make in peers_of(task["mode"]).items():
        if peer not in task["peers"] or peer == HALF_THE_COLUMNS:
            continue
        start = time.process_time()
        try:
            judge = make(task)
            fitted = time.process_time() - start
            result = measured(judge, task["windows"])
        except ImportError:
            answer: dict[str, Any] = {"problem": "not installed"}
        except NotForThisError as error:
            answer = {"problem": f"not for this: {error}"}
        except Exception as error:  # noqa: BLE001 - a peer's failure is a finding about it
            answer = {"problem": f"{type(error).__name__}: {error}"[:200]}
        else:
            answer = {"fit_s": fitted, **result}
        yield {"method": peer, **answer}
        if peer == ANY_COLUMN:  # the same tests, another rule
            shares = answer.get("scores", [])
            yield {"method": HALF_THE_COLUMNS, **answer, "alarms": [int(share >= 0.5) for share in shares]}


def main() -> None:
    warnings.simplefilter("ignore")
    out = sys.stdout
    sys.stdout = sys.stderr  # whatever a peer prints
    while True:
        try:
            task = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        out.write(json.dumps(list(answers(task))) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
