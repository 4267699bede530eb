"""The HTML page of a backtest, and its view in a notebook: without scripts, readable offline and in print."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from driftbell.degradation.metric_texts import METRIC_NAMES
from driftbell.errors import ReportError
from driftbell.phrases import count_of, join_names, printable
from driftbell.publish.backtest_charts import backtest_svg, heat_scale
from driftbell.publish.backtest_view import (
    WORDS,
    BacktestView,
    backtest_view,
    format_moment,
    unlabelled_note,
    verdict_word,
)
from driftbell.publish.html_report import template_environment
from driftbell.publish.wording import NEEDS_LABELS, format_metric, format_score, truncate
from driftbell.records import Interval, Verdict

if TYPE_CHECKING:
    from driftbell.simulation.backtest_checks import Backtest, BacktestCheck

MAX_BYTES = 1_000_000
PAGE_SIZES = (1000, 300, 100, 20)
"""Checks in the table; the first number that fits into `MAX_BYTES` is used."""

MAX_ALARMS = 30
MAX_COLUMN_NAMES = 4
MAX_SOURCE = 200


def backtest_report(backtest: Backtest, names: tuple[str, str] = ("", "")) -> str:
    """Render the page of a backtest, at most `MAX_BYTES` bytes.

    For many checks, those of the mildest verdicts are left out of the table; the page says how many.

    Args:
        backtest: the backtest; checks that are missing are computed.
        names: names of the reference and of the stream, such as their files; "" for tables in memory.

    Raises:
        ReportError: the smallest possible page exceeds `MAX_BYTES`.
    """
    view, checks = backtest_view(backtest), backtest.checks
    alarms = _first_checks(checks, lambda c: c.verdict is Verdict.ALARM)
    untold = _first_checks(checks, lambda c: verdict_word(c) == NEEDS_LABELS)
    worst = min(checks, key=lambda c: WORDS.index(verdict_word(c)), default=None)
    template = template_environment().get_template("backtest.html.j2")
    for size in PAGE_SIZES:
        listed = _listed(checks, size)
        hidden = Counter(map(verdict_word, checks)) - Counter(map(verdict_word, listed))
        page = template.render(
            view=view,
            verdict=worst.verdict if worst else Verdict.UNKNOWN,
            worst_word=verdict_word(worst) if worst else Verdict.UNKNOWN.value,
            notes=[
                *dict.fromkeys(note for c in checks for note in c.notes),
                *filter(None, [unlabelled_note(backtest)]),
            ],
            facts=_facts(backtest, view, names),
            picture=backtest_svg(view) if view.points else "",
            scale=heat_scale(),
            checks=listed,
            total=len(checks),
            hidden=", ".join(f"{count:,} {word}" for word, count in hidden.items()),
            alarms=alarms[:MAX_ALARMS],
            more_alarms=max(0, len(alarms) - MAX_ALARMS),
            untold=untold[:MAX_ALARMS],
            more_untold=max(0, len(untold) - MAX_ALARMS),
            word=verdict_word,
            moment=format_moment,
            score=format_score,
            value=lambda interval: _interval(interval, view.metric),
            columns=lambda names: join_names(names, max_names=MAX_COLUMN_NAMES),
        )
        if len(page.encode("utf-8", "replace")) <= MAX_BYTES:
            return page
    raise ReportError(f"the HTML page of the backtest would exceed {MAX_BYTES} bytes")


def backtest_notebook(backtest: Backtest) -> str:
    """Return the picture of a backtest for notebooks."""
    view = backtest_view(backtest)
    picture = Markup("{}{}").format(backtest_svg(view), heat_scale()) if view.points else Markup("")
    more = f" Not shown: {count_of(view.other_columns, 'more column')}." if view.other_columns else ""
    note = unlabelled_note(backtest)
    more += f" {note}" if note else ""
    return str(Markup("<div><p><b>{}</b>{}</p>{}</div>").format(view.sentence, more, picture))


def _first_checks(
    checks: Sequence[BacktestCheck], is_one: Callable[[BacktestCheck], bool]
) -> list[BacktestCheck]:
    """Return the first check of each run of consecutive ones that fit."""
    return [c for i, c in enumerate(checks) if is_one(c) and not (i and is_one(checks[i - 1]))]


def _listed(checks: Sequence[BacktestCheck], size: int) -> list[BacktestCheck]:
    """Return at most `size` checks in order, those of the most severe verdicts."""
    chosen = sorted(checks, key=lambda c: WORDS.index(verdict_word(c)))[:size]
    return sorted(chosen, key=lambda c: c.index)


def _facts(backtest: Backtest, view: BacktestView, names: tuple[str, str]) -> list[tuple[str, Any]]:
    reference = backtest.reference
    checks = backtest.checks
    source, stream = (f"{truncate(printable(n, MAX_SOURCE))}, " if n else "" for n in names)
    facts = [
        ("Reference", f"{source}{count_of(reference.rows, 'row')}"),
        ("Stream", f"{stream}{count_of(len(checks), 'check')}"),
    ]
    if checks:
        end = format_moment(checks[-1].end)
        facts.append(("Period", f"{format_moment(checks[0].start)} to {end}{' UTC' if view.timed else ''}"))
    if view.reference is not None and view.threshold is not None:
        metric = METRIC_NAMES[view.metric]
        facts.append(
            (f"{metric[0].upper()}{metric[1:]} of the reference", format_metric(view.reference, metric))
        )
        facts.append(("Threshold (smallest loss)", format_metric(view.threshold, metric)))
    return facts


def _interval(interval: Interval | None, metric: str) -> str:
    if interval is None:
        return "–"
    name = METRIC_NAMES[metric]
    value, low, high = (format_metric(v, name) for v in (interval.value, interval.low, interval.high))
    return f"{value} ({low} to {high})"
