"""Result of `driftbell init`, as it is printed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from driftbell.phrases import join_names, printable
from driftbell.records import Column, Feature, Kind, Value
from driftbell.tabular.columns import is_null
from driftbell.wiring.init_score import Score

MAX_CATEGORIES = 4
"""Categories that the facts of a feature name."""


@dataclass(frozen=True, slots=True)
class FeatureFacts:
    """Facts of one feature.

    Attributes:
        name: its name.
        kind: the kind by which its values are compared.
        type: the type in which the model is given it, as pandas names it.
        nullable: whether null is valid.
        values: its categories, or its range.
        example: a valid value.
    """

    name: str
    kind: str
    type: str
    nullable: bool
    values: str
    example: Value


@dataclass(frozen=True, slots=True)
class InitResult:
    """Facts of a model and its reference, and the files that were written.

    Attributes:
        output: the configuration file.
        golden: the file of golden answers; None without.
        golden_rows: number of golden answers.
        no_golden: why there are none; "" if there are.
        model: the model's file, folder, name in a module or URL.
        name: the model's name.
        version: the model's version.
        sha256: the pinned hash; None if the file needs no consent.
        estimator: the type of the model, such as `Pipeline with LogisticRegression`.
        task: `classification` or `regression`.
        classes: its classes; none for a regression.
        threshold: the probability from which one class is predicted, by class; None without.
        reference: the file of the reference.
        rows: its rows.
        target: the column of the labels; None without.
        why_target: why it was taken for the label; "" if the user named it.
        features: the features.
        left_out: the reason by column.
        other_types: types by column in which it is read because the model knows its values only then.
        score: the score on the reference; None without labels.
        warnings: what the user should know or decide.
        label_candidates: columns of which each could be the label, if none was chosen.
        example: a valid row.
        example_file: the file with this row if it is long; None if not.
    """

    output: Path
    golden: Path | None
    golden_rows: int
    no_golden: str
    model: Path | str
    name: str
    version: str
    sha256: str | None
    estimator: str
    task: str
    classes: tuple[str, ...]
    threshold: dict[str, float] | None
    reference: Path
    rows: int
    target: str | None
    why_target: str
    features: tuple[FeatureFacts, ...]
    left_out: dict[str, str]
    other_types: dict[str, str]
    score: Score | None
    warnings: tuple[str, ...]
    label_candidates: tuple[str, ...]
    example: dict[str, Value]
    example_file: Path | None


def feature_facts(feature: Feature, column: Column) -> FeatureFacts:
    """Return what is known of a feature.

    Args:
        feature: the feature.
        column: its values in the reference.
    """
    return FeatureFacts(
        feature.name,
        (Kind.CATEGORICAL if feature.has_number_categories else feature.kind).value,
        feature.dtype,
        feature.nullable,
        _values_text(feature, column),
        feature.example,
    )


def _values_text(feature: Feature, column: Column) -> str:
    """Return the categories or the range of a column."""
    if feature.kind is Kind.CATEGORICAL or feature.has_number_categories:
        categories = feature.categories or feature.levels
        return join_names((printable(c, 20) for c in categories), max_names=MAX_CATEGORIES)
    present = [v for v in column.tolist() if not is_null(v)]
    if feature.kind is Kind.BOOLEAN:
        return join_names(str(v).lower() for v in sorted(set(present)))
    return " to ".join(_limit(v) for v in dict.fromkeys((min(present), max(present))))


def _limit(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return value.isoformat(sep=" ") if hasattr(value, "isoformat") else str(value)
