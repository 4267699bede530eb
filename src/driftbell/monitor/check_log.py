"""The log line of a check."""

from __future__ import annotations

import structlog

from driftbell.alarms.refused_rows import refused_sentence
from driftbell.publish.json_views import daily_cost_view
from driftbell.records import Check, Verdict

logger = structlog.get_logger()


def log_check(check: Check) -> None:
    """Log a check; never the values of features, so refused values are left out."""
    judgement = check.judgement
    degradation = judgement.degradation
    notable = (
        judgement.drifted_columns
        or judgement.exceeded_limits
        or judgement.refused
        or judgement.verdict in (Verdict.ALARM, Verdict.UNKNOWN)
        or (degradation is not None and degradation.needs_labels)
    )
    loss = degradation.stated_loss if degradation else None
    sentence, refused = judgement.sentence, judgement.refused
    if refused:
        sentence = sentence.replace(refused.sentence, refused_sentence(refused, values=False))
    (logger.warning if notable else logger.info)(
        "drift check",
        verdict=judgement.verdict.value,
        sentence=sentence,
        drifted_columns=list(judgement.drifted_columns),
        exceeded_limits=[limit.name for limit in judgement.exceeded_limits],
        rows=check.rows,
        refused_rows=refused.rows if refused else 0,
        kind=check.kind.value,
        model=check.model,
        version=check.version,
        check_id=check.id,
        reports=list(check.reports),
        duration_s=round(check.duration, 3),
        degradation=degradation.verdict.value if degradation else None,
        needs_labels=degradation.needs_labels if degradation else False,
        degradation_score=round(degradation.score, 3) if degradation else None,
        estimated_loss=round(loss.value, 4) if loss else None,
        estimated_loss_interval=[round(loss.low, 4), round(loss.high, 4)] if loss else None,
        daily_cost=daily_cost_view(degradation.daily_cost) if degradation else None,
        suspects=list(degradation.suspect_columns) if degradation else [],
    )
