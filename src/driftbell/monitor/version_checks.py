"""Checks of every version that answers requests, each with its own reference, detector and state."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from driftbell.error_capture import ErrorCapture
from driftbell.errors import StoreError
from driftbell.models.versions_in_use import versions_in_use
from driftbell.monitor.check import Checker
from driftbell.monitor.failed_check import describe_error
from driftbell.monitor.rollback import ChallengeGuard
from driftbell.ports import Store
from driftbell.records import Check, CheckKind, Lease
from driftbell.records.versions import VersionInUse, VersionRole, VersionState

MAX_CHECKERS = 3
"""Versions that are checked at one time; so many checkers stay open, each with its reference and detector."""

logger = structlog.get_logger()


class VersionChecks:
    """Runs a check of each version in use; the states of versions are never mixed.

    The champion and a challenger that answers requests are checked each time. Another version is checked if
    predictions or labels of it have arrived since its last check, at most `MAX_CHECKERS` in all: the longest
    unchecked come first.

    Args:
        checker: the checker of the version that is the champion now.
        state: reads the aliases of the model.
        open_checker: opens the checker of a registered version.
        guard: ends challenges after the checks; None ends none.
    """

    def __init__(
        self,
        checker: Checker,
        state: Callable[[], VersionState],
        open_checker: Callable[[str], Checker],
        guard: ChallengeGuard | None = None,
    ) -> None:
        self._current = checker
        self._checkers = {checker.model.version: checker}
        self._state = state
        self._open_checker = open_checker
        self._guard = guard
        self._errors: dict[str, str] = {}

    def __call__(self, kind: CheckKind, occasion: str, lease: Lease) -> Check:
        """Run the checks, and return that of the champion; see `Checker`.

        A manual check is one of the champion only. A champion that cannot be opened with its reference is
        logged, and the version before is checked in its place.

        Raises:
            StoreError, LeaseLostError: see `Checker`.
        """
        state = self._state()
        self._follow(state)
        check = self._current(kind, occasion, lease)
        store, model, now = self._current.store, self._current.model.name, check.time
        current = self._current.model.version
        versions = versions_in_use(store, state, model=model, served=current, now=now)
        if kind is not CheckKind.MANUAL:
            for item in self._others(versions, state):
                checker = self._checker(item.version)
                if checker:
                    checker(kind, occasion, lease, item.role)
        served = {current, *(item.version for item in versions if item.serves)}
        reason = f"Version {versions[0].version} answers requests instead of this one."
        store.alarms.close_replaced(served, reason, now, lease, model=model)
        if self._guard and kind is not CheckKind.MANUAL:
            self._guard.look(self._state(), self._current.model, self._current.clock(), lease)
        return check

    def _follow(self, state: VersionState) -> None:
        """Switch to the checker of the champion."""
        version = state.champion.version if state.champion else None
        before = self._current.model.version
        if not version or version == before:
            return
        checker = self._checker(version)
        if checker is None:
            return
        self._current = checker
        logger.info("monitored version changed", version=version, before=before)

    def _others(self, versions: list[VersionInUse], state: VersionState) -> list[VersionInUse]:
        """Return the versions to check beside the champion; a shadow answers nobody, so it has no check."""
        answers = state.challenger is not None and not state.challenger.is_shadow
        store, current = self._current.store, self._current.model
        others = [item for item in versions if item.version != current.version]
        due = [
            item
            for item in others
            if (item.role is VersionRole.CHALLENGER and answers) or _has_news(store, item, model=current.name)
        ]
        due = [item for item in due if item.role is not VersionRole.CHAMPION]  # it could not be opened
        due.sort(key=_urgency)
        return due[: MAX_CHECKERS - 1]

    def _checker(self, version: str) -> Checker | None:
        """Return the checker of a version; None, after a line in the log, if it cannot be opened."""
        if version not in self._checkers:
            with ErrorCapture(StoreError) as captured:  # a reference or a model may fail with any error
                self._checkers[version] = self._open_checker(version)
            if captured.error:
                text = describe_error(captured.error)
                if self._errors.get(version) != text:
                    logger.error("version cannot be monitored", version=version, error=text)
                self._errors[version] = text
                return None
            self._errors.pop(version, None)
        checker = self._checkers[version] = self._checkers.pop(version)  # the newest
        others = [v for v in self._checkers if v not in (version, self._current.model.version)]
        for old in others[: max(0, len(self._checkers) - MAX_CHECKERS)]:
            del self._checkers[old]
        return checker


def _has_news(store: Store, item: VersionInUse, *, model: str) -> bool:
    """Return whether predictions or labels of a version have arrived since its last check.

    Labels do not count while the version waits for the predictions of a new baseline.

    Raises:
        StoreError: the store cannot be read.
    """
    last, served = item.last_check, {"model": model, "version": item.version}
    if last is None:
        return item.last_prediction is not None
    if store.predictions.count(**served, limit=1, after=last.last):
        return True
    if last.baseline and not last.baseline.last:
        return False
    has_labels = False
    with ErrorCapture(StoreError) as captured:  # a row may be damaged, which the check reports
        has_labels = bool(store.labels.after(last.state.evidence.label_seq, 1, **served))
    return has_labels or captured.error is not None


def _urgency(item: VersionInUse) -> tuple[bool, bool, float]:
    checked = item.last_check.time.timestamp() if item.last_check else 0.0
    return item.role is not VersionRole.CHALLENGER, not item.serves, checked
