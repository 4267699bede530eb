"""Verbs that tell something: check, report, config."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from driftbell.cli.root import cli, common, exit_code, settings
from driftbell.config import settings as config
from driftbell.records import Judgement


@cli.command()
@common
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the whole result as JSON.")
def check(
    config_file: Path | None, data_dir: str | None, parent: int | None, files: tuple[Path, ...], as_json: bool
) -> None:
    """Judge the current window, or one table against another.

    Nothing is saved and no report is written. Tables are .csv or .parquet files.

    \b
    Examples:
      driftbell check
      driftbell check reference.csv today.csv --json
    """
    loaded = settings(config_file, data_dir=data_dir)
    from driftbell.wiring import offline

    match files:
        case ():
            found = offline.judged_window(loaded.settings)
        case (reference, current):
            found = offline.judged_files(reference, current, loaded.settings)
        case _:
            raise click.UsageError("give no file (the log's window) or two: REFERENCE and CURRENT")
    _print_judgement(found, as_json=as_json)
    sys.exit(exit_code(found))


@cli.command()
@common
@click.argument("target", type=click.Path(path_type=Path))
def report(config_file: Path | None, data_dir: str | None, parent: int | None, target: Path) -> None:
    """Write a report on the current window to a file.

    \b
    Example:
      driftbell report drift.html
    """
    loaded = settings(config_file, data_dir=data_dir)
    from driftbell.wiring import offline

    found = offline.write_report(loaded.settings, target)
    click.echo(f"{target}: {found.sentence}")
    sys.exit(exit_code(found))


@cli.command("config")
@common
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def show_config(config_file: Path | None, data_dir: str | None, parent: int | None, as_json: bool) -> None:
    """Show every setting, its value, and where it comes from.

    \b
    Example:
      DRIFTBELL_CHECK__EVERY=1m driftbell config
    """
    loaded = settings(config_file, data_dir=data_dir)
    from driftbell.config.settings import setting_descriptions

    values, described = config.setting_values(loaded.settings), setting_descriptions()
    if as_json:
        rows = {n: {"value": v, "source": loaded.sources.get(n, "default")} for n, v in values.items()}
        click.echo(json.dumps(rows, indent=1))
        return
    width = max(map(len, values))
    for name, value in values.items():
        shown = "–" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        click.echo(f"{name:<{width}}  {shown:<24} {loaded.sources.get(name, 'default')}")
        click.echo(click.style(f"{'':<{width}}  {described[name]}", dim=True))


def _print_judgement(found: Judgement, *, as_json: bool) -> None:
    if as_json:
        import msgspec

        click.echo(json.dumps(msgspec.to_builtins(found), indent=1))
        return
    click.echo(f"{found.verdict.value.upper()}  {found.sentence}")
    width = max((len(c.column) for c in found.columns), default=0)
    for c in found.columns:
        p_value = "" if c.adjusted_p_value is None else f"p {c.adjusted_p_value:.2g}"
        click.echo(f"  {c.column:<{width}}  {c.verdict.value:<8} {p_value:<11} {c.reason}")
