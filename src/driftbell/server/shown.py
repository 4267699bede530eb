"""The answers to both questions as JSON for the API: does the model do worse, and has something changed."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from driftbell.publish.words import drift_words
from driftbell.records import Harm, Judgement


def harm_shown(harm: Harm | None, *, brief: bool = False) -> dict[str, Any] | None:
    """Make the answer to "does the model do worse?" JSON; None where it was not asked.

    Args:
        harm: the answer.
        brief: without the evidence, for long lists.
    """
    if harm is None:
        return None
    shown: dict[str, Any] = {
        "verdict": harm.verdict.value,
        "sentence": harm.sentence,
        "score": harm.score,
        "loss": harm.loss and asdict(harm.loss),
        "since": harm.since and {k: v.isoformat() for k, v in asdict(harm.since).items()},
        "suspects": [asdict(s) for s in harm.suspects],
    }
    if brief:
        return shown
    return shown | {
        "rows": harm.rows,
        "performance": harm.performance and asdict(harm.performance),
        "parts": [asdict(p) for p in harm.parts],
        "slice": harm.slice or None,
        "to_label": list(harm.to_label),
    }


def drift_shown(judgement: Judgement) -> dict[str, Any]:
    """Make the answer to "has something changed?" JSON."""
    return {"columns": list(judgement.drifted_columns), "sentence": drift_words(judgement)}
