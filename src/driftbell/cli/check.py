"""Commands check, report and config."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from driftbell.cli.root import FAIL_ON, cli, common, exit_code, settings
from driftbell.cli.table_options import read_options, table_options
from driftbell.phrases import printable

if TYPE_CHECKING:
    from driftbell.records import Judgement


@cli.command()
@common
@click.argument("files", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--verbose", is_flag=True, help="Print what was detected in the files.")
@click.option(
    "--fail-on",
    type=click.Choice(FAIL_ON),
    default="drift",
    show_default=True,
    help="What ends the command with exit code 1: drift or an alarm, only an alarm, or neither.",
)
@table_options
def check(
    config_file: Path | None,
    data_dir: str | None,
    parent: int | None,
    files: tuple[str, ...],
    as_json: bool,
    verbose: bool,
    fail_on: str,
    **reading: Any,
) -> None:
    """Check the current window against the reference, or one table against another.

    Saves nothing and writes no report. Tables are files (CSV and other text, Parquet, Arrow, JSON, workbooks,
    also compressed), folders or patterns of files, or databases (sqlite:///FILE, postgresql://USER@HOST/NAME)
    with --query. The kinds of the columns are decided on the reference.

    A column has drifted if the evidence is strong and the change is larger than check.smallest_effect.
    Identifiers, lists, and columns without a readable value are not compared, and listed with the reason. An
    additional column of CURRENT is a note. At most 20 columns are printed, the drifted first; --json has all.

    Exit codes: 0 no drift, 1 drift or alarm (--fail-on), 2 usage or configuration error, 3 no verdict (no
    column, or not every one, could be compared), whatever --fail-on is. Two tables have drift, but no alarm.

    \b
    Examples:
      driftbell check
      driftbell check reference.csv today.csv --json
      driftbell check may.csv.gz 'june/*.parquet' --column zip=categorical --exclude 'id,row_*'
    """
    loaded = settings(config_file, data_dir=data_dir)
    detected: Mapping[str, Mapping[str, Any]] = {}
    match files:
        case ():
            from driftbell.wiring.offline import judged_window

            judgement = judged_window(loaded.settings)
        case (reference, current):
            from driftbell.wiring.tables import judge_pair, read_pair

            pair = read_pair(reference, current, read_options(reading, loaded.settings.columns))
            detected = pair.detected
            if verbose:
                _print_detected(detected)
            judgement = judge_pair(pair, loaded.settings)
        case _:
            raise click.UsageError(
                f"expected no files (the current window) or two, REFERENCE and CURRENT; got {len(files)}"
            )
    if as_json:
        from driftbell.publish.table_views import judgement_json

        click.echo(judgement_json(judgement, detected))
    else:
        _print_judgement(judgement)
    sys.exit(exit_code(judgement, fail_on))


@cli.command()
@common
@click.argument("target", type=click.Path(path_type=Path))
def report(config_file: Path | None, data_dir: str | None, parent: int | None, target: Path) -> None:
    """Write an HTML report on the current window to a file.

    Exit codes: 0 no drift, 1 alarm or drift, 3 no verdict.

    \b
    Example:
      driftbell report drift.html
    """
    loaded = settings(config_file, data_dir=data_dir)
    from driftbell.wiring import offline

    judgement = offline.write_report(loaded.settings, target)
    click.echo(f"{target}: {judgement.sentence}")
    sys.exit(exit_code(judgement))


@cli.command("config")
@common
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def show_config(config_file: Path | None, data_dir: str | None, parent: int | None, as_json: bool) -> None:
    """Show every setting with its value, source and description.

    \b
    Example:
      DRIFTBELL_CHECK__EVERY=1m driftbell config
    """
    loaded = settings(config_file, data_dir=data_dir)
    from driftbell.config import settings as config
    from driftbell.config.settings import setting_descriptions

    values, described = config.setting_values(loaded.settings), setting_descriptions()
    if as_json:
        rows = {n: {"value": v, "source": loaded.sources.get(n, "default")} for n, v in values.items()}
        click.echo(json.dumps(rows, indent=1))
        return
    width = max(map(len, values))
    for name, value in values.items():
        text = "–" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        click.echo(f"{name:<{width}}  {text:<24} {loaded.sources.get(name, 'default')}")
        click.echo(click.style(f"{'':<{width}}  {described[name]}", dim=True))


def _print_detected(detected: Mapping[str, Mapping[str, Any]]) -> None:
    for table, facts in detected.items():
        texts = (f"{name.replace('_', ' ')} {_fact(value)}" for name, value in facts.items())
        click.echo(f"{table}: {', '.join(texts)}", err=True)


def _fact(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _print_judgement(judgement: Judgement) -> None:
    from driftbell.publish import table_views as views

    click.echo(f"{judgement.verdict.value.upper()}  {judgement.sentence}")
    columns, others = views.listed_columns(judgement)
    names = [printable(c.column, views.MAX_NAME) for c in columns]
    width = max(map(len, names), default=0)
    for name, c in zip(names, columns, strict=True):
        p_value = f"p {text}" if (text := views.p_value_text(c)) else ""
        reason = printable(c.reason, views.MAX_REASON)
        click.echo(f"  {name:<{width}}  {views.verdict_word(c):<8} {p_value:<11} {reason}".rstrip())
    if others:
        click.echo(f"  and {others} more columns; --json prints all")
