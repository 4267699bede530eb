"""Combine the answers about drift and degradation into one verdict."""

from __future__ import annotations

from dataclasses import replace

from driftbell.records import Degradation, Judgement, Verdict


def combine(drift: Judgement, degradation: Degradation | None) -> Judgement:
    """Combine the answers to both questions into one verdict.

    Args:
        drift: whether something has changed, from `judge`.
        degradation: whether the model performs worse; None if that is not monitored.

    Returns:
        `alarm` only if the model performs worse; else `warning` if something has changed or indicates
        degradation, or if only labels can tell whether there is one; else `unknown` if one of both cannot be
        judged; else `ok`. The sentence starts with degradation if there is any, or a loss that is no alarm.
    """
    if degradation is None:
        return drift
    changed = drift.verdict is Verdict.WARNING
    if degradation.verdict is Verdict.ALARM:
        verdict = Verdict.ALARM
    elif changed or degradation.verdict is Verdict.WARNING or degradation.needs_labels:
        verdict = Verdict.WARNING
    elif Verdict.UNKNOWN in (drift.verdict, degradation.verdict):
        verdict = Verdict.UNKNOWN
    else:
        verdict = Verdict.OK
    is_quiet = degradation.verdict is Verdict.OK and not degradation.names_loss
    drift_only = is_quiet or (degradation.waiting and drift.verdict is Verdict.UNKNOWN)
    sentences = (
        [drift.sentence, degradation.sentence]
        if degradation.waiting
        else [degradation.sentence, drift.sentence]
    )
    sentence = drift.sentence if drift_only else " ".join(sentences)
    return replace(drift, verdict=verdict, sentence=sentence, degradation=degradation)


REPLACED = "No alarm is raised, since this version does not serve any more."


def without_alarm(judgement: Judgement) -> Judgement:
    """Return a judgement with a warning in place of an alarm, for a version that does not serve any more.

    Its labels still say how well it performed, but nothing can be done about it.
    """
    degradation = judgement.degradation
    if degradation is None or degradation.verdict is not Verdict.ALARM:
        return judgement
    sentence = f"{degradation.sentence} {REPLACED}"
    return replace(
        judgement,
        verdict=Verdict.WARNING,
        sentence=judgement.sentence.replace(degradation.sentence, sentence, 1),
        degradation=replace(degradation, verdict=Verdict.WARNING, sentence=sentence),
    )
