"""Port of the predictions of shadows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from driftbell.records import ShadowPrediction
from driftbell.records.comparison import ShadowPair


class ShadowStore(Protocol):
    """Predictions of shadows, which answered nobody. They count nowhere else; retention deletes them."""

    def append(self, predictions: Sequence[ShadowPrediction]) -> int:
        """Write all or none; return how many are new. A version predicts an answered prediction once."""

    def pairs(self, limit: int, *, model: str, champion: str, shadow: str) -> list[ShadowPair]:
        """Read the newest predictions of a shadow, at most `limit`, with those that the champion answered.

        They have no label, and are in the order in which the shadow's were written.
        """

    def labelled_pairs(
        self, limit: int, *, model: str, champion: str, shadow: str, since: datetime | None = None
    ) -> list[ShadowPair]:
        """Read the labelled pairs with the newest first labels, at most `limit`, in arrival order.

        `since` is that of `driftbell.ports.LabelStore.outcomes`.
        """

    def versions(self, model: str) -> list[str]:
        """Read the versions of a model that have predicted as shadows, in order of their names."""
