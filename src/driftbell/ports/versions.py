"""Port of the registered versions of models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Protocol

from driftbell.records import Lease, Notification
from driftbell.records.versions import AliasChange, ModelVersion, Promotion, ServerWorker, VersionState


class VersionStore(Protocol):
    """Versions of models, the aliases that name them, and the server processes that serve them."""

    def add(self, version: ModelVersion) -> bool:
        """Register a version after its files are stored; return whether it is new.

        A known version stays as it is, except that the settings replace what the settings registered.
        """

    def get(self, version: str, *, model: str) -> ModelVersion | None:
        """Read one version."""

    def newest(self, *, model: str) -> list[ModelVersion]:
        """Read all versions of a model, newest first."""

    def replace_files(self, version: ModelVersion) -> None:
        """Write the files of a known version again, and delete contents that no version has any more."""

    def has_file(self, content_id: str, parts: int) -> bool:
        """Return whether all parts of a file are stored."""

    def write_file(self, content_id: str, parts: Iterable[bytes]) -> None:
        """Store a file in parts, each in a transaction of its own; known parts are skipped."""

    def read_file(self, content_id: str) -> Iterator[bytes]:
        """Yield the parts of a file in order."""

    def state(self, now: datetime, *, model: str) -> VersionState:
        """Read the aliases in force now, the next changes and the promotion in progress."""

    def challengers(self, now: datetime, *, model: str) -> tuple[AliasChange, ...]:
        """Read the challengers in force now, at most one; a shadow (`is_shadow`) answers no request."""

    def history(self, limit: int, *, model: str, alias: str) -> list[AliasChange]:
        """Read the newest changes of an alias, newest first."""

    def settle(self, configured: str, now: datetime, *, model: str) -> AliasChange:
        """Return the champion in force, after the settings have become it if they name another version.

        A champion that was promoted stays while the settings name the same version as at the promotion.
        """

    def set_alias(self, change: AliasChange) -> None:
        """Append a change of an alias."""

    def end_challenge(
        self, change: AliasChange, running: AliasChange, notification: Notification | None, lease: Lease
    ) -> bool:
        """Append the end of a challenge with its notification, and return whether it was still running.

        Nothing is written if the challenge has ended or changed meanwhile, or a change of the champion is
        scheduled, which ends it.

        Raises:
            LeaseLostError: another monitor has taken over.
        """

    def rollbacks(self, *, model: str) -> int:
        """Count the challenges of a model that the monitor ended."""

    def start_promotion(self, promotion: Promotion, *, stale: datetime) -> Promotion | None:
        """Start a promotion; return the one in progress instead, if it started after `stale`."""

    def cancel_promotion(self, promotion: Promotion) -> None:
        """End a promotion without any change."""

    def complete_promotion(
        self, promotion: Promotion, change: Callable[[], AliasChange], *, alive: datetime
    ) -> list[ServerWorker] | None:
        """Append a change and end the promotion, if every worker seen since `alive` is ready.

        The change is built when nothing keeps it from being written any more: waiting for other writers must
        not eat up the time until it takes effect.

        Returns:
            Otherwise the workers that are not ready, without any change; None if the promotion was replaced.
        """

    def report_worker(self, worker: ServerWorker) -> None:
        """Write a worker's report, and delete those of workers that have not reported for an hour."""

    def remove_worker(self, worker_id: str) -> None:
        """Remove a worker that stops."""

    def workers(self, since: datetime, *, model: str) -> list[ServerWorker]:
        """Read the workers of a model that have reported since a time."""
