"""Models: the default one, classifiers of scikit-learn and its like, and their form in ONNX."""

from driftbell.models.convert import INSTALL, Conversion, convert
from driftbell.models.iris import hash_of, iris_model, iris_training
from driftbell.models.onnx import OnnxModel
from driftbell.models.onnxfile import load_onnx
from driftbell.models.served import Kept, keep, kept, key_of
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
    "INSTALL",
    "Conversion",
    "Kept",
    "OnnxModel",
    "SklearnModel",
    "convert",
    "hash_of",
    "iris_model",
    "iris_training",
    "keep",
    "kept",
    "key_of",
    "known_by_heart",
    "labels_of",
    "load_model",
    "load_onnx",
    "outputs_of",
    "reference_of",
    "try_model",
]
