"""Table of a comparison of two tables in a notebook."""

from __future__ import annotations

from markupsafe import Markup

from driftbell.phrases import count_of, printable
from driftbell.publish.performance_views import CELL, performance_table
from driftbell.publish.table_views import (
    MAX_NAME,
    MAX_REASON,
    listed_columns,
    nulls_text,
    p_value_text,
    verdict_word,
)
from driftbell.publish.wording import VERDICT_SYMBOLS
from driftbell.records import Judgement, TablePerformance


def notebook_html(judgement: Judgement, performance: TablePerformance | None = None) -> Markup:
    """Return the verdict, the performance and a table of the columns, for notebooks."""
    columns, others = listed_columns(judgement)
    rows = Markup("").join(
        Markup("<tr>{}</tr>").format(
            Markup("").join(
                Markup('<td style="{}">{}</td>').format(CELL, text)
                for text in (
                    printable(c.column, MAX_NAME),
                    c.comparison.kind.value,
                    verdict_word(c),
                    p_value_text(c),
                    nulls_text(c),
                    printable(c.reason, MAX_REASON),
                )
            )
        )
        for c in columns
    )
    names = ("column", "kind", "verdict", "adjusted p-value", "nulls", "reason")
    head = Markup("").join(Markup('<th style="{}">{}</th>').format(CELL, name) for name in names)
    more = Markup("<p>and {}</p>").format(count_of(others, "more column")) if others else Markup("")
    table = Markup("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>{}").format(head, rows, more)
    return Markup("<div><p><b>{} {}</b> {}</p>{}{}</div>").format(
        VERDICT_SYMBOLS[judgement.verdict],
        judgement.verdict.value,
        printable(judgement.sentence, MAX_REASON * 3),
        performance_table(performance) if performance else "",
        table if columns else "",
    )
