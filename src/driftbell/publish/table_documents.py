"""Documents about a comparison of two tables: Markdown for pull requests, and JUnit XML for CI systems."""

from __future__ import annotations

from datetime import datetime
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from driftbell.phrases import count_of, printable
from driftbell.publish.limit_views import limit_word, listed_limits
from driftbell.publish.performance_views import HEADINGS, MAX_NOTE, interval_note, metric_rows
from driftbell.publish.table_views import (
    MAX_NAME,
    MAX_REASON,
    listed_columns,
    nulls_text,
    p_value_text,
    verdict_word,
)
from driftbell.publish.wording import VERDICT_SYMBOLS
from driftbell.records import ColumnVerdict, Degradation, Judgement, Scope, TablePerformance, Verdict

MAX_SENTENCE = 1000
MAX_TEST_NAME = 200

MARKUP = "\\`*_[]<>|~#&$"
"""Characters of Markdown and HTML; a character reference of them is never markup."""

NO_MENTION = "@\u200b"
"""An at sign that mentions nobody: a space of no width follows."""


def table_markdown(
    judgement: Judgement,
    names: tuple[str, str] = ("", ""),
    rows: tuple[int, int] = (0, 0),
    performance: TablePerformance | None = None,
) -> str:
    """Return the verdict and the columns as Markdown, the drifted first, at most 20.

    Args:
        judgement: the verdict and the columns.
        names: names of the reference and of the current table; "" for the current window of a model.
        rows: their numbers of rows.
        performance: performance of the model on both tables.
    """
    verdict = judgement.verdict
    lines = [
        f"### {VERDICT_SYMBOLS[verdict]} driftbell check: {verdict.value}",
        "",
        _text(judgement.sentence, MAX_SENTENCE),
        "",
    ]
    lines += _performance(performance) if performance else []
    columns, others = listed_columns(judgement)
    if columns:
        lines += ["| column | kind | verdict | adjusted p-value | nulls | reason |", "| --- " * 6 + "|"]
    for c in columns:
        word = f"**{c.verdict.value}**" if c.drifted else verdict_word(c)
        name = f"<code>{_text(c.column, MAX_NAME)}</code>"
        cells = (name, c.comparison.kind.value, word, p_value_text(c), nulls_text(c))
        lines.append(f"| {' | '.join(cells)} | {_text(c.reason, MAX_REASON)} |")
    if others:
        lines += ["", f"and {count_of(others, 'more column')}"]
    lines += _limit_rows(judgement)
    if all(names):
        tables = (
            f"<code>{_text(n, MAX_TEST_NAME)}</code> ({r:,} rows)" for n, r in zip(names, rows, strict=True)
        )
        lines += ["", f"Reference: {', current: '.join(tables)}"]
    return "\n".join(lines).strip() + "\n"


def _performance(performance: TablePerformance) -> list[str]:
    lines = [f"| {' | '.join(HEADINGS)} |", "| --- " * 4 + "|"]
    lines += [f"| {r.name} | {r.reference} | {r.current} | {r.change} |" for r in metric_rows(performance)]
    notes = (f"- {_text(note, MAX_NOTE)}" for note in performance.notes)
    return [*lines, "", interval_note(performance), "", *notes, *([""] if performance.notes else [])]


def _limit_rows(judgement: Judgement) -> list[str]:
    limits, others = listed_limits(judgement)
    rows = ["", "| limit | state | measured |", "| --- " * 3 + "|"] if limits else []
    for limit in limits:
        state = f"**{limit_word(limit)}**" if limit.exceeded else limit_word(limit)
        rows.append(
            f"| <code>{_text(limit.name, MAX_NAME)}</code> | {state} | {_text(limit.reason, MAX_REASON)} |"
        )
    return [*rows, "", f"and {others} more limits"] if others else rows


def _text(text: str, length: int) -> str:
    """Return a text of the user without Markdown, HTML or mentions."""
    line = printable(text, length).strip() or "(no name)"
    return "".join(f"&#{ord(c)};" if c in MARKUP else NO_MENTION if c == "@" else c for c in line)


def table_junit(
    judgement: Judgement, *, time: datetime, fails: bool, drift_fails: bool, measured: bool = False
) -> bytes:
    """Return a JUnit document with one test case for each column, and one for a verdict about none of them.

    The case `performance` is about the performance of the model on both tables. An alarm always has a case,
    which passes if an alarm is no failure.

    A drifted column is a failure; one that should have been compared is an error; an identifier, a list, an
    additional column, or a target without labels is skipped. An exceeded limit is a
    failure; one that could not be judged is an error, and so is a check that cannot tell whether the model
    performs worse.

    Args:
        judgement: the verdict and the columns.
        time: when the check ran.
        fails: whether an alarm is a failure.
        drift_fails: whether drift and exceeded limits are failures; otherwise they are outputs of tests.
        measured: whether the performance was measured with labels on both tables.
    """
    root = Element("testsuites")
    suite = SubElement(
        root, "testsuite", name="driftbell check", timestamp=time.strftime("%Y-%m-%dT%H:%M:%S")
    )
    degradation = judgement.degradation if measured else None
    if degradation:
        _performance_case(suite, degradation, fails=fails)
    for column in judgement.columns:
        _column_case(suite, column, drift_fails=drift_fails)
    for limit in judgement.limits:
        outcome = {True: "failure" if drift_fails else "", None: "error", False: ""}[limit.exceeded]
        _case(suite, f"limit {limit.name}", outcome, limit.reason)
    needs_labels = judgement.degradation is not None and judgement.degradation.needs_labels
    whole = {Verdict.ALARM: "failure" if fails else "", Verdict.UNKNOWN: "error"}.get(judgement.verdict, "")
    whole = "error" if needs_labels else whole
    measured_only = degradation is not None and (
        judgement.verdict is Verdict.ALARM or degradation.verdict is Verdict.UNKNOWN
    )
    is_case = bool(whole) or judgement.verdict is Verdict.ALARM
    if (is_case and not measured_only) or not judgement.columns:
        _case(suite, "verdict", whole, judgement.sentence)
    for element in (root, suite):
        element.set("tests", str(len(suite)))
        for tag, name in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            element.set(name, str(len(suite.findall(f"testcase/{tag}"))))
    indent(root)
    document: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _performance_case(suite: Element, degradation: Degradation, *, fails: bool) -> None:
    tags = {Verdict.ALARM: "failure" if fails else "", Verdict.UNKNOWN: "error"}
    _case(suite, "performance", tags.get(degradation.verdict, ""), degradation.sentence)


def _column_case(suite: Element, column: ColumnVerdict, *, drift_fails: bool) -> None:
    if column.drifted:
        tag = "failure" if drift_fails else ""
    elif column.compared:
        tag = ""
    else:
        optional = column.comparison.scope is Scope.NULLS or column.comparison.role in ("extra", "target")
        tag = "skipped" if optional else "error"
    _case(suite, column.column, tag, column.reason)


def _case(suite: Element, name: str, tag: str, reason: str) -> None:
    text = printable(reason, MAX_SENTENCE)
    case = SubElement(
        suite, "testcase", classname="driftbell.check", name=printable(name, MAX_TEST_NAME) or "(no name)"
    )
    if tag:
        SubElement(case, tag, message=text).text = text
    elif text:
        SubElement(case, "system-out").text = text
