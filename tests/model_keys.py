"""The name and version of a model as keyword arguments, typed."""

from __future__ import annotations

from typing import TypedDict


class ModelKey(TypedDict):
    """Arguments of a store's methods that select one model version."""

    model: str
    version: str
