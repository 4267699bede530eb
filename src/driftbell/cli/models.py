"""Command group models."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from driftbell.cli.challenge import challenge_version
from driftbell.cli.model_output import output_of_model
from driftbell.cli.promotions import promote_version, rollback
from driftbell.cli.root import EXIT_OK, EXIT_UNKNOWN, cli, common, settings
from driftbell.cli.versions import add, list_versions, show_version
from driftbell.phrases import count_of, printable

if TYPE_CHECKING:
    from driftbell.records.comparison import VersionComparison, VersionSummary

EXIT_WORSE = 1

MAX_CLASSES = 8
"""Classes of a matrix that fits a terminal."""


@cli.group()
def models() -> None:
    """Add, list, compare and promote versions of the model.

    A service registers the model of its settings when it starts. Further versions are added from files; they
    are stored in the prediction log, so that every replica can open them.

    \b
    Examples:
      driftbell models list
      driftbell models add churn-2.skops --reference held_out.csv
      driftbell models challenge 3f2a --share 0.1
      driftbell models promote 3f2a
      driftbell models compare
    """


for command in (add, list_versions, show_version, promote_version, challenge_version, rollback):
    models.add_command(command)


@models.command()
@common
@click.argument("before", required=False)
@click.argument("after", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def compare(
    config_file: Path | None,
    data_dir: str | None,
    parent: int | None,
    before: str | None,
    after: str | None,
    as_json: bool,
) -> None:
    """Compare two versions that served at the same time, by the labels of their predictions.

    BEFORE and AFTER are versions in the prediction log; without them, the champion and its challenger, or the
    two that received labels last. A shadow is compared on the rows that both predicted, also without labels.
    The interval of the difference holds however often you look, so you may stop as soon as it is certain: of
    two equal versions, at most 1 in 100 comparisons ever says that one is better.

    Exit codes: 0 AFTER is better or equal, 1 it is worse, 2 no such version, 3 cannot tell yet.

    \b
    Examples:
      driftbell models compare
      driftbell models compare 3f6c2a9d10be 81d0c5e7b2aa --json
    """
    loaded = settings(config_file, data_dir=data_dir)
    if before is not None and after is None:
        raise click.UsageError("name both versions, or none to compare the two that received labels last")
    from driftbell.wiring.version_comparison import compare_logged_versions

    with output_of_model():
        comparison = compare_logged_versions(loaded.settings, before, after)
    if as_json:
        from driftbell.publish.json_views import version_comparison_view

        click.echo(json.dumps(version_comparison_view(comparison), indent=1))
    else:
        _print(comparison)
    codes = {"worse": EXIT_WORSE, "unknown": EXIT_UNKNOWN}
    sys.exit(codes.get(comparison.verdict.value, EXIT_OK))


def _print(comparison: VersionComparison) -> None:
    from driftbell.publish.wording import format_metric

    def line(side: VersionSummary) -> str:
        if side.performance is None or side.first is None or side.last is None:
            return f"  {side.version}  no labels"
        value, low, high = (
            format_metric(v, comparison.metric)
            for v in (side.performance.value, side.performance.low, side.performance.high)
        )
        period = f"{side.first:%Y-%m-%d %H:%M} to {side.last:%Y-%m-%d %H:%M} UTC"
        latency = ""
        if side.median_latency_ms is not None and side.p95_latency_ms is not None:
            latency = f", latency p50 {side.median_latency_ms:.1f} ms, p95 {side.p95_latency_ms:.1f} ms"
        return (
            f"  {side.version}  {comparison.metric} {value} (90 % interval: {low} to {high}), "
            f"{count_of(side.labels, 'label')}, {period}{latency}"
        )

    click.echo(comparison.sentence)
    click.echo(line(comparison.before))
    click.echo(line(comparison.after))
    if comparison.decided:
        click.echo(f"  certain since {comparison.decided:,} labels")
    if comparison.pairs:
        click.echo(f"  both predicted the same {comparison.pairs:,} labelled rows")
    if comparison.rollback:
        click.echo(f"  rollback: {comparison.rollback}")
    for text in _agreement_lines(comparison):
        click.echo(text)


def _agreement_lines(comparison: VersionComparison) -> Iterator[str]:
    agreement = comparison.agreement
    if agreement is None:
        return
    share = 100 * agreement.same / agreement.rows
    yield f"  the same output for {share:.2f} % of {agreement.rows:,} rows that both predicted"
    if agreement.mean_difference is not None:
        yield f"  mean absolute difference {agreement.mean_difference:.4g}"
        return
    names = [printable(name, 20) for name in agreement.classes]
    if len(names) > MAX_CLASSES:
        yield f"  --json has the matrix of the {len(names)} classes"
        return
    width = max(map(len, [*names, f"{agreement.rows:,}"]))
    yield f"  {'':{width}}  {'  '.join(f'{name:>{width}}' for name in names)}  <- {comparison.after.version}"
    for name, counts in zip(names, agreement.matrix, strict=True):
        yield f"  {name:>{width}}  {'  '.join(f'{count:>{width},}' for count in counts)}"
