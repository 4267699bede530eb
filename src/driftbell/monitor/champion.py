"""Checks of the version that serves: another checker takes over when another version is promoted."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from driftbell.error_capture import ErrorCapture
from driftbell.errors import StoreError
from driftbell.monitor.check import Checker
from driftbell.monitor.check_reports import describe_error
from driftbell.records import Check, CheckKind, Lease

MAX_CHECKERS = 3
"""Checkers that stay open, each with the reference and the detector of its version."""

logger = structlog.get_logger()


class ChampionChecks:
    """Runs each check with the checker of the champion; the states of versions are never mixed.

    Args:
        checker: the checker of the version that is the champion now.
        champion: reads the champion; None if the registry has none.
        open_checker: opens the checker of a registered version.
    """

    def __init__(
        self,
        checker: Checker,
        champion: Callable[[], str | None],
        open_checker: Callable[[str], Checker],
    ) -> None:
        self._current = checker
        self._checkers = {checker.model.version: checker}
        self._champion = champion
        self._open_checker = open_checker

    def __call__(self, kind: CheckKind, occasion: str, lease: Lease) -> Check:
        """Run one check of the champion; see `Checker`.

        A champion that cannot be opened with its reference is logged, and the version before is checked.
        """
        version = self._champion()
        if version and version != self._current.model.version:
            self._switch(version)
        return self._current(kind, occasion, lease)

    def _switch(self, version: str) -> None:
        before = self._current.model.version
        if version not in self._checkers:
            with ErrorCapture(StoreError) as captured:  # a reference or a model may fail with any error
                self._checkers[version] = self._open_checker(version)
            if captured.error:
                text = describe_error(captured.error)
                logger.error("champion cannot be monitored", version=version, checked=before, error=text)
                return
        self._current = self._checkers[version] = self._checkers.pop(version)  # the newest
        for old in list(self._checkers)[:-MAX_CHECKERS]:
            del self._checkers[old]
        logger.info("monitored version changed", version=version, before=before)
