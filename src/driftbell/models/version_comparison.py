"""Comparison of two versions by the labels in the prediction log."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from driftbell.alarms.smallest_loss import SmallestLoss
from driftbell.degradation.compare_versions import (
    agreement_of,
    compare_pairs,
    compare_versions,
    mean_error,
)
from driftbell.errors import ConfigError
from driftbell.phrases import join_names, suggest_name
from driftbell.ports import Store
from driftbell.records.comparison import LabelledOutcome, ShadowPair, VersionComparison
from driftbell.records.versions import CHALLENGER, AliasChange

MAX_LABELS = 200_000
"""Newest labelled predictions of a version that are compared."""

MAX_CHANGES = 100
"""Changes of the share of a challenger that do not begin the comparison anew."""


@dataclass(frozen=True, slots=True)
class VersionComparer:
    """Compares versions of a model.

    Attributes:
        store: the prediction store.
        model: the model's name.
        is_regression: whether outputs are numbers.
        smallest_loss: the smallest loss that matters.
        max_rows: newest labelled predictions of a version that are compared.
    """

    store: Store
    model: str
    is_regression: bool
    smallest_loss: SmallestLoss
    max_rows: int = MAX_LABELS

    def compare(self, before: str | None, after: str | None, *, now: datetime) -> VersionComparison:
        """Compare two versions: by the rows that both predicted, if more labels are there than of others.

        Args:
            before: the version that is compared with; None for the champion, or without a challenger for the
                older one of the two versions that received labels last.
            after: the other version; None for the challenger, or the newer one.
            now: the time (UTC).

        Raises:
            ConfigError: a version has no predictions, or there are fewer than two versions.
            StoreError: the store cannot be read.
        """
        shadows = self.store.shadows.versions(self.model)
        before, after = self._chosen(before, after, shadows, now)
        pairs, newest = self._pairs(before, after, shadows)
        outcomes = [
            self.store.labels.outcomes(self.max_rows, model=self.model, version=version)
            for version in (before, after)
        ]
        smallest = self._smallest(outcomes[0], pairs)
        if len(pairs) > min(map(len, outcomes)) or (newest and not pairs and not all(outcomes)):
            comparison = compare_pairs(
                self.model,
                before,
                after,
                pairs,
                is_regression=self.is_regression,
                smallest_loss=smallest,
            )
        else:
            comparison = compare_versions(
                self.model,
                (before, outcomes[0]),
                (after, outcomes[1]),
                is_regression=self.is_regression,
                smallest_loss=smallest,
            )
        if not newest:
            return comparison
        return replace(comparison, agreement=agreement_of(newest, is_regression=self.is_regression))

    def compare_challenge(self, champion: AliasChange, challenger: AliasChange) -> VersionComparison:
        """Compare a challenger with the champion by the labels of predictions since the challenge began.

        A change of the share does not begin it anew, one between a share and a shadow does. At most
        `max_rows` labels of a version count, the oldest ones: a look has the labels of the one before.

        Raises:
            StoreError: the store cannot be read.
        """
        since = self._begin(champion, challenger)
        before, after = champion.version or "", challenger.version or ""
        if challenger.is_shadow:
            names = {"model": self.model, "champion": before, "shadow": after}
            pairs = self.store.shadows.labelled_pairs(self.max_rows, **names, since=since)
            smallest = self._smallest([], pairs)
            options: dict[str, Any] = {"is_regression": self.is_regression, "smallest_loss": smallest}
            return compare_pairs(self.model, before, after, pairs, **options)
        old, new = (
            self.store.labels.outcomes(self.max_rows, model=self.model, version=version, since=since)
            for version in (before, after)
        )
        options = {"is_regression": self.is_regression, "smallest_loss": self._smallest(old, [])}
        return compare_versions(self.model, (before, old), (after, new), **options)

    def _begin(self, champion: AliasChange, challenger: AliasChange) -> datetime:
        """Return when a version became the challenger, before changes of its share."""
        begin = challenger.active_from
        for change in self.store.versions.history(MAX_CHANGES, model=self.model, alias=CHALLENGER):
            if change.active_from > challenger.active_from:
                continue  # not in force yet
            is_same = (change.version, change.is_shadow) == (challenger.version, challenger.is_shadow)
            if not is_same or change.active_from < champion.active_from:
                break
            begin = change.active_from
        return begin

    def _smallest(self, outcomes: list[LabelledOutcome], pairs: list[ShadowPair]) -> float:
        if not self.is_regression:
            return self.smallest_loss.of_accuracy()
        paired = [LabelledOutcome(p.seq, p.time, p.output, p.label or "", p.latency_ms) for p in pairs]
        return self.smallest_loss.of_error(mean_error(outcomes or paired))

    def _pairs(
        self, before: str, after: str, shadows: list[str]
    ) -> tuple[list[ShadowPair], list[ShadowPair]]:
        """Read the rows that both predicted: those with a label, and the newest ones."""
        store, limit = self.store.shadows, self.max_rows
        for champion, shadow in ((before, after), (after, before)):
            if shadow not in shadows:
                continue
            labelled = store.labelled_pairs(limit, model=self.model, champion=champion, shadow=shadow)
            newest = store.pairs(limit, model=self.model, champion=champion, shadow=shadow)
            if newest and shadow == before:
                return list(map(_swapped, labelled)), list(map(_swapped, newest))
            if newest:
                return labelled, newest
        return [], []

    def _no_predictions_yet(self, version: str, now: datetime) -> str:
        state = self.store.versions.state(now, model=self.model)
        named = (state.champion, state.challenger)
        aliases = [change.alias for change in named if change and change.version == version]
        if aliases:
            return f"is the {aliases[0]} and has no predictions yet"
        return (
            "is registered and has no predictions yet: let it answer requests with "
            f"`driftbell models promote {version}` or `driftbell models challenge {version} --share 0.1`"
        )

    def _chosen(
        self, before: str | None, after: str | None, shadows: list[str], now: datetime
    ) -> tuple[str, str]:
        """Return the two versions to compare."""
        store, model = self.store, self.model
        answered = store.predictions.versions(model)
        versions = [*(version for version in shadows if version not in answered), *answered]
        silent = [v.version for v in store.versions.newest(model=model) if v.version not in versions]
        for version in (before, after):
            if version in silent:
                raise ConfigError(
                    f"version '{version}' of '{model}' {self._no_predictions_yet(version, now)}"
                )
            if version is not None and version not in versions:
                hint = suggest_name(version, versions)
                known = (
                    f"versions in the log: {join_names(versions)}"
                    if versions
                    else "the log has no predictions"
                )
                raise ConfigError(f"version '{version}' of '{model}' has no predictions; {hint or known}")
        if before is not None and after is not None:
            if before == after:
                raise ConfigError(f"name two versions: '{before}' is compared with itself")
            return before, after
        state = store.versions.state(now, model=model)
        named = [change.version for change in (state.champion, state.challenger) if change and change.version]
        if len(named) == 2 and set(named) <= set(versions):
            return named[0], named[1]
        if len(versions) < 2:
            waiting = (
                f"; {silent[0]} {self._no_predictions_yet(silent[0], now)}" if silent and versions else ""
            )
            raise ConfigError(
                f"there are fewer than two versions of '{model}' in the log: "
                f"{join_names(versions) if versions else 'no predictions'}{waiting}"
            )
        arrived = {v: store.labels.totals(model=model, version=v).last_label for v in versions}
        oldest = datetime.min.replace(tzinfo=UTC)
        newest = sorted(versions, key=lambda v: arrived[v] or oldest)[-2:]
        first, second = (v for v in versions if v in newest)  # in the order of their newest predictions
        return first, second


def _swapped(pair: ShadowPair) -> ShadowPair:
    """Exchange both versions: the shadow is the one that is compared with."""
    return ShadowPair(
        pair.seq,
        pair.time,
        pair.shadow_output,
        pair.output,
        pair.label,
        pair.shadow_latency_ms,
        pair.latency_ms,
    )
