"""Combine the answers about drift and degradation into one verdict."""

from __future__ import annotations

from dataclasses import replace

from driftbell.records import Harm, Judgement, Verdict


def whole(drift: Judgement, harm: Harm | None) -> Judgement:
    """Put the answers to both questions together.

    Args:
        drift: whether something has changed, as `judge` gives it.
        harm: whether the model does worse; None where that was not asked.

    Returns:
        `alarm` where the model does worse, and there alone; else `warning` where something has changed or
        speaks for harm; else `unknown` where one of both cannot be judged, but for the first predictions,
        which harm waits for; else `ok`. What is worth a word about harm comes first in the sentence.
    """
    if harm is None:
        return drift
    changed = drift.verdict is Verdict.WARNING
    if harm.verdict is Verdict.ALARM:
        verdict = Verdict.ALARM
    elif changed or harm.verdict is Verdict.WARNING:
        verdict = Verdict.WARNING
    elif drift.verdict is Verdict.UNKNOWN or (harm.verdict is Verdict.UNKNOWN and not harm.waiting):
        verdict = Verdict.UNKNOWN
    else:
        verdict = Verdict.OK
    alone = harm.verdict is Verdict.OK or (harm.waiting and drift.verdict is Verdict.UNKNOWN)
    both = [drift.sentence, harm.sentence] if harm.waiting else [harm.sentence, drift.sentence]
    sentence = drift.sentence if alone else " ".join(both)
    return replace(drift, verdict=verdict, sentence=sentence, harm=harm)
