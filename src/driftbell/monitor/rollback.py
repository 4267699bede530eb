"""End of a challenge by the monitor, if the challenger performs worse than the champion."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

import structlog

from driftbell.alarms.smallest_loss import SmallestLoss
from driftbell.degradation.compare_versions import is_rollback_due, rollback_sentence
from driftbell.error_capture import ErrorCapture
from driftbell.errors import StoreError
from driftbell.models.version_comparison import VersionComparer
from driftbell.monitor.failed_check import describe_error
from driftbell.ports import Model, Store
from driftbell.records import Lease, Notification, Task, Verdict
from driftbell.records.comparison import VersionComparison
from driftbell.records.operation import ROLLBACK
from driftbell.records.versions import CHALLENGER, MONITOR_AUTHOR, AliasChange, VersionState

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ChallengeGuard:
    """Ends a challenge with `AliasChange.is_rollback` when the challenger is worse by the smallest loss.

    Nothing is kept in memory: each look compares all labels since the challenge began.

    Attributes:
        store: the prediction store.
        smallest_loss: the smallest loss that matters.
        notifies: whether the end is written as a notification.
    """

    store: Store
    smallest_loss: SmallestLoss
    notifies: bool = False

    def look(self, state: VersionState, served: Model, now: datetime, lease: Lease) -> bool:
        """Compare the challenger with the champion, and end the challenge if it is worse.

        An error of the comparison is logged, and the challenge goes on.

        Args:
            state: the aliases in force.
            served: the model of the champion.
            now: the time (UTC).
            lease: proves the right to end it.

        Returns:
            Whether the challenge was ended.

        Raises:
            StoreError: the store cannot be read or written.
            LeaseLostError: another monitor has taken over.
        """
        champion, challenger = state.champion, state.challenger
        if not (champion and challenger and challenger.is_rollback):
            return False
        comparer = VersionComparer(
            self.store,
            served.name,
            is_regression=served.task is Task.REGRESSION,
            smallest_loss=self.smallest_loss,
        )
        comparison: VersionComparison | None = None
        with ErrorCapture(StoreError) as captured:  # a row may be damaged
            comparison = comparer.compare_challenge(champion, challenger)
        if comparison is None:
            text = describe_error(captured.error) if captured.error else ""
            logger.error("challenger cannot be compared", version=challenger.version, error=text)
            return False
        sentence = rollback_sentence(comparison)
        facts = {
            "version": challenger.version,
            "champion": champion.version,
            "metric": comparison.metric,
            "labels": comparison.after.labels,
            "champion_labels": comparison.before.labels,
            "difference": comparison.difference and comparison.difference.value,
            "low": comparison.difference and comparison.difference.low,
            "high": comparison.difference and comparison.difference.high,
            "smallest_loss": comparison.smallest_loss,
        }
        if not is_rollback_due(comparison):
            logger.info("challenger compared", **facts, result=sentence)
            return False
        end = AliasChange(
            served.name,
            CHALLENGER,
            None,
            now,
            MONITOR_AUTHOR,
            sentence,
            challenger.configured,
            is_rollback=True,
        )
        notification = _notification(end, challenger) if self.notifies else None
        if not self.store.versions.end_challenge(end, challenger, notification, lease):
            return False
        logger.warning("challenger rolled back", **facts, reason=sentence)
        return True


def _notification(end: AliasChange, challenger: AliasChange) -> Notification:
    text = f"{challenger.model}\0{challenger.version}\0{challenger.active_from.isoformat()}"
    return Notification(
        check_id=f"{ROLLBACK}-{hashlib.sha256(text.encode()).hexdigest()[:32]}",
        time=end.active_from,
        model=end.model,
        version=challenger.version or "",
        before=None,
        verdict=Verdict.WARNING,
        since=end.active_from,
        sentence=f"The monitor ended the challenge, and the champion answers alone. {end.reason}",
        event=ROLLBACK,
    )
