"""Models: the default one, and scikit-learn classifiers from files."""

from driftbell.models.iris import iris_model, iris_training
from driftbell.models.sklearn import (
    SklearnModel,
    known_by_heart,
    labels_of,
    load_model,
    outputs_of,
    reference_of,
    try_model,
)

__all__ = [
    "SklearnModel",
    "iris_model",
    "iris_training",
    "known_by_heart",
    "labels_of",
    "load_model",
    "outputs_of",
    "reference_of",
    "try_model",
]
