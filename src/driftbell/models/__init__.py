"""Models: the default one, and scikit-learn classifiers from files."""

from driftbell.models.iris import iris_model
from driftbell.models.sklearn import SklearnModel, load_model, reference_of, try_model

__all__ = ["SklearnModel", "iris_model", "load_model", "reference_of", "try_model"]
