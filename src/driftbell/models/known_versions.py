"""Message about a version that does not exist: the versions that do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from driftbell.phrases import join_names, printable, suggest_name
from driftbell.ports import Store

MAX_LISTED = 8
MAX_NAME_LENGTH = 64


def known_versions(store: Store, *, model: str) -> list[str]:
    """Return the registered versions of a model and those of its predictions, the newest first.

    Raises:
        StoreError: the store cannot be read.
    """
    registered = [version.version for version in store.versions.newest(model=model)]
    return list(dict.fromkeys([*registered, *reversed(store.predictions.versions(model))]))


def unknown_version_text(
    version: str, known: Sequence[str], *, model: str, further_models: Iterable[str] = ()
) -> str:
    """Return that a model has no version of this name, and which ones it has.

    Args:
        version: the name.
        known: the versions, the newest first.
        model: name of the model.
        further_models: names of further models, which a path may have meant.

    >>> unknown_version_text("3f6d", ["3f6c", "81d0"], model="churn")
    "no version of 'churn' is named '3f6d'; did you mean '3f6c'? The versions, newest first: 3f6c and 81d0"
    >>> unknown_version_text("fraud", [], model="churn", further_models=["fraud2"])
    "no version of 'churn' is named 'fraud'; it has no versions yet; further models: fraud2"
    """
    others = list(further_models)
    texts = [f"no version of '{model}' is named '{printable(version, MAX_NAME_LENGTH)}'"]
    if known:
        listed = join_names(known, max_names=MAX_LISTED)
        question = suggest_name(version[:MAX_NAME_LENGTH], known)
        texts.append(f"{question} The versions" if question else "the versions")
        texts[-1] += f", newest first: {listed}"
    else:
        texts.append("it has no versions yet")
    if others:
        texts.append(f"further models: {join_names(others)}")
    return "; ".join(texts)
