"""Why a model cannot be converted to ONNX, with the features concerned and what to do."""

from __future__ import annotations

import re
from collections.abc import Sequence

from driftbell.errors import ModelError
from driftbell.models.foreign_code import error_text
from driftbell.phrases import join_names
from driftbell.records import Feature, Kind

BOOLEAN_INPUT = re.compile(r"BooleanTensorType|tensor\(bool\)")
"""Types of boolean inputs, as the converters and ONNX Runtime write them."""

ONE_INPUT = re.compile(r"at most 1 input")
"""An operator that takes one table of numbers, and got a column each since not all features are numbers."""

ENCODED = re.compile(r"LabelEncoder|datatype not yet supported")
"""An encoder of categories, which is converted for texts and numbers only."""

MAX_NAMES = 5


def conversion_problem(error: Exception, features: Sequence[Feature]) -> str:
    """Return why a model cannot be converted, with what to do where that is known.

    Args:
        error: of a converter, of ONNX Runtime, or a `ModelError` about the model.
        features: of the model.
    """
    text = str(error)
    booleans = [f for f in features if f.kind is Kind.BOOLEAN]
    if booleans and BOOLEAN_INPUT.search(text) and ENCODED.search(text):
        them = "it" if len(booleans) == 1 else "them"
        advice = (
            f'pass {them} through instead ("passthrough" in a ColumnTransformer), or fit the model on text'
        )
        return f"{_are(booleans)}, and an encoder of booleans has no conversion: {advice}"
    if booleans and (BOOLEAN_INPUT.search(text) or ONE_INPUT.search(text)):
        return f"{_are(booleans)}, which its converter takes as numbers only: {advice_on_booleans(booleans)}"
    return text if isinstance(error, ModelError) else f"its converter failed with {error_text(error)}"


def not_numeric(features: Sequence[Feature]) -> str:
    """Return why trees on features that are not all numbers cannot be converted.

    Args:
        features: those that are no numbers.
    """
    booleans = [f for f in features if f.kind is Kind.BOOLEAN]
    advice = f": {advice_on_booleans(booleans)}" if len(booleans) == len(features) else ""
    return f"{_are(features)}, and the trees are converted with numbers only{advice}"


def kinds_of(features: Sequence[Feature]) -> str:
    """Return the clause about features of kinds that an ONNX file does not take, with what to do.

    >>> kinds_of([Feature("paid", Kind.BOOLEAN)])
    "the reference has 'paid' as boolean: write it there as 0 and 1, or export the model with boolean inputs"
    """
    names = join_names((f"'{f.name}' as {f.kind.value}" for f in features), max_names=MAX_NAMES)
    them = "it" if len(features) == 1 else "them"
    if all(f.kind is Kind.BOOLEAN for f in features):
        advice = f"write {them} there as 0 and 1, or export the model with boolean inputs"
        return f"the reference has {names}: {advice}"
    return f"the reference has {names}: write {them} there as the model takes {them}"


def advice_on_booleans(features: Sequence[Feature]) -> str:
    """Return what to do about boolean features, as a clause."""
    return f"fit the model on {'it' if len(features) == 1 else 'them'} as 0 and 1, in the reference as well"


def _are(features: Sequence[Feature]) -> str:
    """Return a clause such as "'member' is boolean" or "'city' and 'member' are no numbers"."""
    names = join_names((f"'{f.name}'" for f in features), max_names=MAX_NAMES)
    is_one, are_booleans = len(features) == 1, all(f.kind is Kind.BOOLEAN for f in features)
    return f"{names} {'is' if is_one else 'are'} {'boolean' if are_booleans else 'not numeric'}"
