"""The reports of a check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import structlog

from driftbell.error_capture import ErrorCapture
from driftbell.errors import ReportError
from driftbell.monitor.failed_check import describe_error
from driftbell.monitor.report_importance import report_importance
from driftbell.ports import Sink, Store
from driftbell.publish.report_folder import ReportFolder
from driftbell.records import Check, CheckKind, Column, Reference

logger = structlog.get_logger()


def write_reports(
    check: Check,
    reference: Reference,
    columns: Mapping[str, Column],
    sinks: Mapping[str, Sink],
    *,
    folder: ReportFolder,
    store: Store,
    is_latest: bool = True,
) -> Check:
    """Write the reports, and return the check with their names and errors.

    Args:
        check: the check with its verdict.
        reference: the baseline of the comparison.
        columns: the window as a table.
        sinks: report formats by file name prefix, the main one first.
        folder: where they are written to.
        store: tells how important the check is.
        is_latest: whether the `latest` names point to these reports.
    """
    contents: dict[str, bytes] = {}
    errors = [check.error] if check.error else []
    names: tuple[str, ...] = ()
    for prefix, sink in sinks.items():
        with ErrorCapture() as captured:  # the verdict and the other report do not depend on this one
            contents[prefix] = sink.write(check, reference, columns)
        if captured.error:
            logger.error("drift report failed", check_id=check.id, report=prefix, exc_info=captured.error)
            errors.append(describe_error(captured.error))
    if contents:
        try:
            names = folder.save(
                contents,
                time=check.time,
                manual=check.kind is CheckKind.MANUAL,
                requested=check.kind is not CheckKind.AUTOMATIC,
                importance=report_importance(store, check),
                verdict=check.judgement.verdict,
                version=check.version,
                is_latest=is_latest,
            )
        except ReportError as error:
            logger.error("drift report not written", check_id=check.id, error=str(error))
            errors.append(str(error))
    return replace(check, reports=names, error="; ".join(errors))
