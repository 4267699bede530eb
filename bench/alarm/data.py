"""Data sets: files from a folder, what an installed package ships, and generators."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbell.tabular.features import read_features

Array = NDArray[np.float64]
ROWS = 60_000
FILES = {
    "electricity": ("electricity.parquet", ()),
    "weather": ("weather_noaa.parquet", ()),
    "acs": ("acs_employment_ma.parquet", ("id", "year")),
    "car loan": ("nml_car_loan.parquet", ("id", "timestamp", "y_pred_proba", "y_pred", "part")),
}
SHIPPED = {
    "car price": ("regression_synthetic", "analysis_targets", True),
    "credit cards": ("mc", "analysis_gt", False),
}
CALENDAR = ("month", "hour", "period")
NO_FEATURES = ("y_", "timestamp", "id", "period", "partition")


@dataclass(frozen=True)
class Frame:
    """One data set.

    Attributes:
        name: what it is called.
        columns: the features: float64 with NaN for null, or objects with None for null.
        label: the truth: class names, or numbers for a regression.
        regression: whether the label is a number.
        in_time_order: whether the order of the rows means something.
    """

    name: str
    columns: dict[str, NDArray[Any]]
    label: NDArray[Any]
    regression: bool = False
    in_time_order: bool = False

    def numeric(self) -> list[str]:
        """Return the names of the numeric features."""
        return [name for name, column in self.columns.items() if column.dtype == np.float64]

    def sparse(self) -> list[str]:
        """Return the names of the numeric features that are mostly zero."""
        return [name for name in self.numeric() if np.mean(self.columns[name] == 0) > 0.5]

    def calendar(self) -> list[str]:
        """Return the names of the features that are parts of the calendar."""
        return [name for name in self.columns if name in CALENDAR]

    def categorical(self) -> list[str]:
        """Return the names of the other features."""
        return [name for name, column in self.columns.items() if column.dtype != np.float64]


def datasets(folder: Path | None, *, generated: bool = True, shipped: Path | None = None) -> dict[str, Frame]:
    """Load all available data sets.

    Args:
        folder: where the Parquet files are; None for none of them.
        generated: with the generators.
        shipped: where the package nannyml keeps its data; None for none of them.
    """
    frames = []
    if folder is not None:
        frames += [_file(folder, name) for name in FILES if (folder / FILES[name][0]).exists()]
    if generated:
        frames += [generate() for generate in GENERATORS]
    if shipped is not None:
        frames += [_shipped(shipped, name) for name in SHIPPED]
    return {frame.name: frame for frame in frames}


def _file(folder: Path, name: str) -> Frame:
    from pyarrow import parquet

    file, without = FILES[name]
    table = parquet.read_table(folder / file)
    truth = np.array([f"{value:.0f}" for value in table["y"].to_numpy()], dtype=object)
    names = [k for k in table.column_names if k != "y" and k not in without and not k.startswith("__index")]
    return Frame(name, {k: _cells(table[k]) for k in names}, truth, in_time_order=True)


def _cells(column: Any) -> NDArray[Any]:
    """Convert one Arrow column by numpy; a dictionary is a category."""
    if str(column.type).startswith("dictionary"):
        merged = column.combine_chunks()
        names = np.array([str(v) for v in merged.dictionary.to_pylist()] + [None], dtype=object)
        codes = merged.indices.fill_null(len(names) - 1).to_numpy()
        cells: NDArray[Any] = names[codes]
        return cells
    values: NDArray[Any] = column.to_numpy()
    return values.astype(np.float64) if values.dtype.kind in "fiu" else values.astype(object)


def nannyml_data() -> Path | None:
    """Find the data of the package nannyml, without importing it."""
    spec = importlib.util.find_spec("nannyml")
    return Path(spec.origin).parent / "datasets" / "data" if spec and spec.origin else None


def _shipped(place: Path, name: str) -> Frame:
    stem, truth, regression = SHIPPED[name]
    first, second, late = (
        read_features(place / f"{stem}_{part}.csv") for part in ("reference", "analysis", truth)
    )
    label = np.concatenate([first["y_true"], late["y_true"]])
    names = [k for k in first if k in second and not k.startswith(NO_FEATURES) and k]
    columns = {k: np.concatenate([first[k], second[k]]) for k in names}
    return Frame(name, columns, label, regression=regression, in_time_order=True)


def _sure(logit: Array, rng: np.random.Generator) -> NDArray[Any]:
    return np.where(rng.random(len(logit)) < 1 / (1 + np.exp(-logit)), "yes", "no").astype(object)


def linear() -> Frame:
    """Ten correlated features, with a logistic truth."""
    rng = np.random.default_rng(101)
    mixed = rng.normal(size=(ROWS, 10)) @ (np.eye(10) + 0.3 * rng.normal(size=(10, 10)))
    logit = mixed @ np.array([1.2, -1.0, 0.8, 0.6, -0.5, 0.3, 0.2, 0.1, 0.0, 0.0])
    return Frame("linear", {f"x{i}": mixed[:, i] for i in range(10)}, _sure(logit, rng))


def curved() -> Frame:
    """Eight numbers and two categories, with a non-linear truth and interactions."""
    rng = np.random.default_rng(102)
    x = rng.normal(size=(ROWS, 8))
    x[:, 5] = np.exp(0.7 * x[:, 5] + 0.5 * x[:, 0])
    x[:, 6] = x[:, 1] + 0.5 * x[:, 6]
    place = rng.choice(5, ROWS, p=[0.4, 0.3, 0.15, 0.1, 0.05])
    kind = rng.choice(3, ROWS)
    logit = (
        1.5 * np.sin(1.5 * x[:, 0])
        + 1.5 * x[:, 1] * (kind == 1)
        - x[:, 2] * x[:, 3]
        + np.array([-1.5, -0.5, 0.5, 1.0, 2.0])[place]
        + 0.5 * np.log(x[:, 5])
    )
    columns: dict[str, NDArray[Any]] = {f"x{i}": x[:, i] for i in range(8)}
    columns["place"] = np.array(["north", "south", "east", "west", "isle"], dtype=object)[place]
    columns["kind"] = np.array(["a", "b", "c"], dtype=object)[kind]
    return Frame("curved", columns, _sure(1.5 * logit, rng))


def many_classes() -> Frame:
    """Five classes, each of two clouds in twelve dimensions; their shares are uneven."""
    rng = np.random.default_rng(103)
    centres = rng.normal(scale=1.3, size=(5, 2, 12))
    truth = rng.choice(5, ROWS, p=[0.35, 0.25, 0.2, 0.12, 0.08])
    x = centres[truth, rng.integers(2, size=ROWS)] + rng.normal(scale=1.6, size=(ROWS, 12))
    names = np.array(["one", "two", "three", "four", "five"], dtype=object)
    return Frame("many classes", {f"x{i}": x[:, i] for i in range(12)}, names[truth])


def regression() -> Frame:
    """Friedman's first function, with a category and noise that grows with one feature."""
    rng = np.random.default_rng(104)
    x = rng.random(size=(ROWS, 8))
    kind = rng.choice(3, ROWS)
    y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    y = y + 3 * kind + rng.normal(size=ROWS) * (0.5 + 2 * x[:, 5])
    columns: dict[str, NDArray[Any]] = {f"x{i}": x[:, i] for i in range(8)}
    columns["kind"] = np.array(["a", "b", "c"], dtype=object)[kind]
    return Frame("regression", columns, y, regression=True)


def shop() -> Frame:
    """Orders with a month, an hour, related amounts, and two numbers that are mostly zero."""
    rng = np.random.default_rng(105)
    month, hour = rng.integers(1, 13, ROWS).astype(float), rng.integers(0, 24, ROWS).astype(float)
    size = rng.normal(size=ROWS)
    amount, items, weight = (np.exp(0.6 * size + 0.3 * rng.normal(size=ROWS)) for _ in range(3))
    rebate, fee = (np.where(rng.random(ROWS) < share, rng.gamma(2, 1, ROWS), 0.0) for share in (0.2, 0.1))
    age = rng.normal(40, 12, ROWS)
    kind = rng.choice(4, ROWS, p=[0.5, 0.3, 0.15, 0.05])
    logit = (
        1.5 * np.log(amount * items)
        + 0.06 * (age - 40)
        + np.cos(month / 12 * 2 * np.pi)
        + 0.15 * rebate
        + np.array([-1.0, 0.0, 1.0, 2.0])[kind]
    )
    columns: dict[str, NDArray[Any]] = {"month": month, "hour": hour, "amount": amount, "items": items}
    columns |= {"weight": weight, "rebate": rebate, "fee": fee, "age": age}
    columns["kind"] = np.array(["post", "van", "shop", "other"], dtype=object)[kind]
    return Frame("shop", columns, _sure(logit, rng))


GENERATORS: tuple[Callable[[], Frame], ...] = (linear, curved, many_classes, regression, shop)
