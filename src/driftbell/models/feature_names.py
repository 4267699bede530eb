"""Names of features that a library changed when it saved a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from driftbell.models.loaded import LoadedModel
from driftbell.records import Outputs


def with_names_of(loaded: LoadedModel, names: Sequence[str]) -> LoadedModel:
    """Return a model with the feature names of its reference.

    LightGBM writes `_` for each space. The names in text files are read without spaces at their ends, which
    pandas keeps.

    Args:
        loaded: the model.
        names: columns of the reference.
    """
    own_names = changed_names(loaded.feature_names, names)
    if not own_names:
        return loaded
    names_by_own = {own: name for name, own in own_names.items()}
    return replace(
        loaded,
        predict=partial(_predict, loaded, own_names),
        feature_names=tuple(names_by_own.get(n, n) for n in loaded.feature_names),
        dtypes={names_by_own.get(n, n): dtype for n, dtype in loaded.dtypes.items()},
        levels={names_by_own.get(n, n): levels for n, levels in loaded.levels.items()},
    )


def changed_names(own: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Return the model's name of each column that it knows with `_` for spaces, or with spaces at the ends.

    A name that fits two columns is not in the result.

    >>> changed_names(["customer_age", "plan"], ["customer age", "plan"])
    {'customer age': 'customer_age'}
    >>> changed_names(["age", " income"], ["age", "income"])
    {'income': ' income'}
    """
    own_names, columns = set(own), set(names)
    padded = {name.strip(): name for name in own}
    matches = {name: padded.get(name, name.replace(" ", "_")) for name in names if name not in own_names}
    counts = Counter(matches.values())
    return {
        name: changed
        for name, changed in matches.items()
        if changed in own_names and changed not in columns and counts[changed] == 1
    }


def _predict(loaded: LoadedModel, own_names: Mapping[str, str], table: Any) -> Outputs:
    return loaded.predict(table.rename(columns=own_names) if loaded.takes_frame else table)
