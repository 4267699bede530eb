"""Combine the answers about drift and degradation into one verdict."""

from __future__ import annotations

from dataclasses import replace

from driftbell.records import Degradation, Judgement, Verdict


def whole(drift: Judgement, degradation: Degradation | None) -> Judgement:
    """Put the answers to both questions together.

    Args:
        drift: whether something has changed, as `judge` gives it.
        degradation: whether the model does worse; None where that was not asked.

    Returns:
        `alarm` where the model does worse, and there alone; else `warning` where something has changed or
        speaks for degradation; else `unknown` where one of both cannot be judged, except while degradation
        waits for its first predictions; else `ok`. The sentence starts with degradation where there is any.
    """
    if degradation is None:
        return drift
    changed = drift.verdict is Verdict.WARNING
    if degradation.verdict is Verdict.ALARM:
        verdict = Verdict.ALARM
    elif changed or degradation.verdict is Verdict.WARNING:
        verdict = Verdict.WARNING
    elif drift.verdict is Verdict.UNKNOWN or (
        degradation.verdict is Verdict.UNKNOWN and not degradation.waiting
    ):
        verdict = Verdict.UNKNOWN
    else:
        verdict = Verdict.OK
    alone = degradation.verdict is Verdict.OK or (degradation.waiting and drift.verdict is Verdict.UNKNOWN)
    both = (
        [drift.sentence, degradation.sentence]
        if degradation.waiting
        else [degradation.sentence, drift.sentence]
    )
    sentence = drift.sentence if alone else " ".join(both)
    return replace(drift, verdict=verdict, sentence=sentence, degradation=degradation)
