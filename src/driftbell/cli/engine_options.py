"""Options of what counts large tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

OPTIONS = (
    click.option(
        "--engine",
        type=click.Choice(("polars", "spark")),
        default="polars",
        show_default=True,
        help="What counts large tables: Polars in this process, or the executors of Spark.",
    ),
    click.option(
        "--spark-master",
        metavar="URL",
        help="Spark that --engine spark uses: local[*], spark://HOST:7077, yarn, k8s://URL, or sc://HOST of "
        "Spark Connect [default: SPARK_REMOTE, else Spark's own configuration].",
    ),
)


def engine_options(command: F) -> F:
    """Add the options to a command, which gets them as keyword arguments."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def is_on_spark(files: Sequence[str], options: Mapping[str, Any]) -> bool:
    """Return whether Spark counts the tables.

    Args:
        files: both tables; empty for another check.
        options: values of the options by parameter.

    Raises:
        UsageError: an option of Spark does not belong to the check.
    """
    is_on = bool(options["engine"] == "spark")
    if options["spark_master"] and not is_on:
        raise click.UsageError("--spark-master needs --engine spark")
    if is_on and not files:
        raise click.UsageError("--engine spark needs two tables, REFERENCE and CURRENT")
    return is_on
