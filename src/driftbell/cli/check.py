"""Commands check, report and config."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from driftbell.cli.engine_options import engine_options, is_on_spark
from driftbell.cli.model_options import MODEL_OPTIONS, model_options, named_roles, read_roles, role_candidates
from driftbell.cli.model_output import output_of_model
from driftbell.cli.moments import parse_moment
from driftbell.cli.output_files import refuse_tables, write_documents
from driftbell.cli.progress_bar import progress_bar
from driftbell.cli.root import (
    EXIT_UNKNOWN,
    FAIL_ON,
    cli,
    common,
    configure_log,
    exit_code,
    settings,
    unknown_parts,
)
from driftbell.cli.table_options import (
    READING_OPTIONS,
    TableCommand,
    print_settings,
    read_options,
    table_options,
)
from driftbell.errors import ConfigError
from driftbell.phrases import count_of, printable

if TYPE_CHECKING:
    from driftbell.config.settings import Settings
    from driftbell.wiring.large_tables import LargeCheck
    from driftbell.wiring.model_roles import ModelRoles
    from driftbell.wiring.table_check import TableCheck


@cli.command(cls=TableCommand)
@common
@click.argument("files", nargs=-1, metavar="[REFERENCE CURRENT]")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--verbose", is_flag=True, help="Print what was detected in the files.")
@click.option(
    "--fail-on",
    type=click.Choice(FAIL_ON),
    default="drift",
    show_default=True,
    help="What ends the command with exit code 1: drift, a limit or an alarm; only an alarm; or none.",
)
@click.option("--html", "html", metavar="FILE", help="Write an HTML report on two tables to a file.")
@click.option(
    "--markdown", metavar="FILE", help="Write Markdown to a file, such as for a pull request; '-' prints it."
)
@click.option("--junit", metavar="FILE", help="Write JUnit XML to a file, with a test case for each column.")
@click.option(
    "--smallest-effect",
    "effects",
    multiple=True,
    metavar="SHARE",
    help="Largest negligible change as a share of the rows: 0.05 for all columns, 'amount=0.1' for one; "
    "may be repeated [default: 0.02, or check.smallest_effect].",
)
@click.option("--log", "is_log", is_flag=True, help="Check a period of the prediction log, with its archive.")
@click.option(
    "--since",
    callback=parse_moment,
    help="With --log: start of the period, such as 2026-01-31, or a duration such as 90d "
    "[default: the oldest prediction].",
)
@click.option("--until", callback=parse_moment, help="With --log: end of the period [default: now].")
@click.option("--version", help="With --log: version of the model [default: the champion].")
@engine_options
@model_options
@table_options
def check(
    config_file: Path | None,
    data_dir: str | None,
    parent: int | None,
    files: tuple[str, ...],
    as_json: bool,
    verbose: bool,
    fail_on: str,
    html: str | None,
    markdown: str | None,
    junit: str | None,
    effects: tuple[str, ...],
    is_log: bool,
    since: datetime | None,
    until: datetime | None,
    version: str | None,
    **options: Any,
) -> None:
    """Check the current window or a period of the log against the reference, or one table against another.

    Saves nothing, and writes only the files that options name. Tables are files (CSV and other text, Parquet,
    Arrow, JSON, workbooks, also compressed), folders or patterns of files, or databases (sqlite:///FILE,
    postgresql://USER@HOST/NAME) with --query. The kinds of the columns are decided on the reference. It
    may also be a file of `driftbell profile`.

    A column has drifted if the evidence is strong and the change is larger than check.smallest_effect.
    Identifiers, lists, and columns without a readable value are not compared, and listed with the reason. An
    additional column of CURRENT is a note. At most 20 columns are printed, the drifted first; --json has all.

    With --prediction and --label, the performance is measured on both tables, with 90 % intervals. The
    verdict is an alarm if it is worse: the loss is at least --smallest-loss, and about 1 in 1,000 checks
    without a loss, or fewer, would show it (or as many as alarms.budget allows, if it is per checks). The
    labels are also compared, as the target. In CLASS=COL, the class may contain '='.

    With --engine spark, REFERENCE and CURRENT are Parquet files that the executors can read, such as
    s3a://BUCKET/may, or tables of Spark's catalog; a small file of another format here may be one of them.

    Fixed limits of your own are set in the section [limits] of the settings.

    With --log, all predictions of a period are checked against the reference of their model version, those in
    the archive of retention included. Up to check.exact_rows rows are compared as they are, more by counts.

    Exit codes: 0 no drift and no alarm, 1 drift, exceeded limit or alarm (--fail-on), 2 usage or
    configuration error, 3 no verdict (not everything could be judged, or there are too few labels), whatever
    --fail-on is. With --fail-on alarm, drift and limits do not hide a missing column: it ends with 3.

    \b
    Examples:
      driftbell check
      driftbell check reference.csv today.csv --json
      driftbell check reference.csv today.csv --markdown - --html drift.html --fail-on never
      driftbell check may.csv.gz 'june/*.parquet' --column zip=categorical --exclude 'id,row_*'
      driftbell check reference.csv today.csv --prediction answer --label truth --fail-on alarm
      driftbell check reference.csv today.csv --smallest-effect 0.05 --smallest-effect amount=0.1
      driftbell check s3a://shop/may sales.june --engine spark --spark-master spark://master:7077
      driftbell check --log --since 90d --html drift.html
    """
    period = _period(files, options, is_log, {"--since": since, "--until": until, "--version": version})
    if as_json and markdown == "-":
        raise click.UsageError("--json and --markdown - both print the result; write one to a file")
    if html and not files and period is None:
        raise click.UsageError("--html needs two tables; `driftbell report FILE` reports the current window")
    refuse_tables({"--html": html, "--markdown": markdown, "--junit": junit}, files)
    if files:  # before NumPy is imported: its threads for products of matrices take a tenth of a second
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from driftbell.config.defaults import load_for_tables

    light = bool(files) and not effects and data_dir is None
    configured = load_for_tables(config_file) if light else settings(config_file, data_dir=data_dir).settings
    if effects:
        configured = configured.model_copy(update={"check": configured.check.with_effects(effects)})
    if period is None:
        result = _check(files, configured, options, config_file, verbose=verbose, hidden=as_json)
    else:
        result = _check_period(configured, period, verbose=verbose)
    write_documents(result, html=html, markdown=markdown, junit=junit, fail_on=fail_on)
    if as_json:
        click.echo(result.to_json())
    elif markdown == "-":
        click.echo(result.to_markdown(), nl=False)
    else:
        _print_result(result)
    code = exit_code(result.judgement, fail_on)
    if code == EXIT_UNKNOWN and result.judgement.verdict != "unknown":
        click.echo(f"exit code {code}: {unknown_parts(result.judgement)}", err=True)
    sys.exit(code)


def _period(
    files: tuple[str, ...], options: Mapping[str, Any], is_log: bool, period: Mapping[str, Any]
) -> Mapping[str, Any] | None:
    """Return the period of the log to check; None without --log.

    Raises:
        UsageError: an option does not belong to the check of the log, or of anything else.
    """
    given = [name for name, value in period.items() if value is not None]
    if not is_log:
        if given:
            raise click.UsageError(f"{given[0]} needs --log")
        return None
    is_on_spark(files, options)
    if files:
        raise click.UsageError("--log checks the prediction log against the model's reference: pass no files")
    parameters = click.get_current_context().command.params
    for parameter in parameters:
        if parameter.name in (*MODEL_OPTIONS, *READING_OPTIONS) and options[parameter.name] not in (None, ()):
            raise click.UsageError(f"{parameter.opts[0]} belongs to tables, and --log reads none")
    if period["--since"] and period["--since"] >= (period["--until"] or datetime.now(UTC)):
        raise click.UsageError("--since must be before --until, which is now by default")
    return period


def _check_period(configured: Settings, period: Mapping[str, Any], *, verbose: bool) -> TableCheck:
    """Check a period of the prediction log."""
    configure_log()
    from driftbell.wiring.log_check import check_log

    with output_of_model():
        result = check_log(configured, period["--since"], period["--until"], period["--version"])
    _print_detected(result.detected, verbose=verbose)
    return result


def _check(
    files: tuple[str, ...],
    configured: Settings,
    options: Mapping[str, Any],
    config_file: Path | None,
    *,
    verbose: bool,
    hidden: bool,
) -> TableCheck:
    """Check two tables, or the current window.

    Args:
        files: both tables; empty for the current window.
        configured: the settings.
        options: values of the options of reading tables, and of the columns of the model.
        config_file: the configuration file; None is that of the environment or the working folder.
        verbose: whether to print what was detected in the files.
        hidden: whether to show no progress bar.
    """
    on_spark = is_on_spark(files, options)
    match files:
        case ():
            if any(options[name] for name in MODEL_OPTIONS):
                raise click.UsageError(
                    "--prediction, --label and --probability need two tables, REFERENCE and CURRENT"
                )
            configure_log()
            from driftbell.wiring.offline import judged_window
            from driftbell.wiring.table_check import TableCheck

            with output_of_model():
                return TableCheck(judged_window(configured), (0, 0), ("", ""))
        case (reference, current):
            from driftbell.tabular.column_options import check_roles
            from driftbell.wiring.profile_source import as_profile
            from driftbell.wiring.table_check import TableCheck

            if Path(reference).is_file() and Path(current).is_file() and Path(reference).samefile(current):
                click.echo("note: both tables are the same file", err=True)
            named = named_roles(options)
            reading = read_options(options, configured.columns, named)
            check_roles(named, reading.columns)
            if (profile := as_profile(reference)) is not None:
                if on_spark:
                    raise ConfigError(
                        f"{reference} is a profile, which --engine spark cannot use: name the table itself"
                    )
                from driftbell.wiring.profile_check import check_with_profile

                roles = read_roles(options, profile.decided, configured)
                with progress_bar(hidden=hidden):
                    result = check_with_profile(profile, (reference, current), reading, configured, roles)
                print_settings(config_file)
                _print_detected(result.detected, verbose=verbose)
                return result
            from driftbell.wiring.tables import judge_large, judge_pair, read_pair

            def roles_of(names: Collection[str]) -> ModelRoles:
                return read_roles(options, names, configured)

            sources = (reference, current)
            with progress_bar(hidden=hidden):
                if on_spark:
                    from driftbell.wiring.spark_check import judge_on_spark

                    spark = options["spark_master"]
                    large: LargeCheck | None = judge_on_spark(sources, reading, configured, roles_of, spark)
                else:
                    large = judge_large(sources, reading, configured, roles_of)
            if large is not None:
                print_settings(config_file, large.left_out)
                _print_detected(large.detected, verbose=verbose)
                return TableCheck(
                    large.judgement,
                    large.rows,
                    (reference, current),
                    large.detected,
                    performance=large.performance,
                )
            with progress_bar(hidden=hidden):
                pair = read_pair(reference, current, reading, roles=role_candidates(options))
                roles = read_roles(options, pair.reference, configured)
                judgement, performance = judge_pair(pair, configured, roles)
            print_settings(config_file, pair.left_out)
            _print_detected(pair.detected, verbose=verbose)
            return TableCheck(judgement, pair.rows, pair.names, pair.detected, performance=performance)
    raise click.UsageError(
        f"expected no files (the current window) or two, REFERENCE and CURRENT; got {len(files)}"
    )


@cli.command()
@common
@click.argument("target", type=click.Path(path_type=Path))
def report(config_file: Path | None, data_dir: str | None, parent: int | None, target: Path) -> None:
    """Write an HTML report on the current window to a file.

    Exit codes: 0 no drift, 1 alarm, drift or exceeded limit, 3 no verdict.

    \b
    Example:
      driftbell report drift.html
    """
    loaded = settings(config_file, data_dir=data_dir)
    from driftbell.wiring import offline

    with output_of_model():
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
    import json

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


def _print_detected(detected: Mapping[str, Mapping[str, Any]], *, verbose: bool) -> None:
    """Print what was detected in the files; always if the header lacks names of columns."""
    for table, facts in detected.items():
        if names := facts.get("columns_without_name"):
            click.echo(
                f"{table}: the header has no name for {names}: if the names are in another row, pass "
                "--header-row",
                err=True,
            )
        if not verbose:
            continue
        texts = (f"{name.replace('_', ' ')} {_fact(value)}" for name, value in facts.items())
        click.echo(f"{table}: {', '.join(texts)}", err=True)


def _fact(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _print_result(result: TableCheck) -> None:
    from driftbell.publish import table_views as views
    from driftbell.publish.limit_views import limit_lines

    judgement = result.judgement
    click.echo(f"{judgement.verdict.value.upper()}  {judgement.sentence}")
    if result.performance:
        from driftbell.publish.performance_views import performance_lines

        for line in performance_lines(result.performance):
            click.echo(line)
    columns, others = views.listed_columns(judgement)
    names = [printable(c.column, views.MAX_NAME) for c in columns]
    width = max(map(len, names), default=0)
    for name, c in zip(names, columns, strict=True):
        p_value = f"p {text}" if (text := views.p_value_text(c)) else ""
        reason = printable(c.reason, views.MAX_REASON)
        click.echo(f"  {name:<{width}}  {views.verdict_word(c):<8} {p_value:<11} {reason}".rstrip())
    if others:
        click.echo(f"  and {count_of(others, 'more column')}; --json prints all")
    for line in limit_lines(judgement):
        click.echo(line)
