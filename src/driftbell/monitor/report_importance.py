"""Importance of a check's reports, which decides how long they stay."""

from __future__ import annotations

from driftbell.ports import Store
from driftbell.publish.report_rotation import CHANGED, LASTING_ALARM, UNCHANGED
from driftbell.records import Check, Verdict


def report_importance(store: Store, check: Check) -> int:
    """Return the importance of the reports of a check that is not saved yet.

    The first verdict is no change. A check that opens an alarm, which can be annotated, is a change, also
    right after an annotated alarm.

    Raises:
        StoreError: the store cannot be read.
    """
    previous = next(iter(store.checks.newest(1, version=check.version)), None)
    before = previous.judgement.verdict if previous else Verdict.UNKNOWN
    verdict = check.judgement.verdict
    if before is not verdict and (before, verdict) != (Verdict.UNKNOWN, Verdict.OK):
        return CHANGED if previous or verdict is Verdict.ALARM else UNCHANGED
    if verdict is not Verdict.ALARM:
        return UNCHANGED
    return LASTING_ALARM if store.alarms.current(model=check.model, version=check.version) else CHANGED
