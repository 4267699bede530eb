"""The reference: the data that a model and its predictions are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from driftbell.records.data import Column, Columns, Kind
from driftbell.records.predictions import Outputs


@dataclass(frozen=True, slots=True)
class Training:
    """The data that a model is compared with, before the model has predicted them.

    Attributes:
        features: n rows.
        labels: the true class of each row, null where unknown; None if no row has one.
        out_of_sample: predictions of these rows by a model of the same kind that was not fitted on them;
            None if there are none, so that the model's own predictions have to do.
        outputs: recorded predictions of a model that is served elsewhere; None if the model is asked.
    """

    features: Columns
    labels: Column | None = None
    out_of_sample: Outputs | None = None
    outputs: Outputs | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    """The data that a model is compared with, including its predictions.

    Attributes:
        columns: features, predicted class and the probability of each class, n rows.
        roles: `feature`, `prediction` or `probability` by column.
        version: content hash.
        labels: the true class of each row, null where unknown; None if no row has one.
        out_of_sample: see `Training`.
        kinds: kind by which a column is compared, where it is not that of its values: the user has set it,
            or its categories are numbers.
        bucketed: columns with one number for each of some buckets, in which equal values mean little.
        replaced: the reference that these accepted predictions replace; None if it is the reference itself.
    """

    columns: Columns
    roles: dict[str, str]
    version: str
    labels: Column | None = None
    out_of_sample: Outputs | None = None
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    bucketed: frozenset[str] = frozenset()
    replaced: Reference | None = None
