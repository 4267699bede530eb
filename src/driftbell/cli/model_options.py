"""Options of commands that measure the performance of a model in tables."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from driftbell.errors import ConfigError

if TYPE_CHECKING:
    from driftbell.alarms.smallest_loss import SmallestLoss
    from driftbell.config.settings import Settings
    from driftbell.wiring.model_roles import ModelRoles

F = TypeVar("F", bound=Callable[..., Any])

OPTIONS = (
    click.option("--prediction", metavar="COL", help="Column with the predictions."),
    click.option(
        "--label",
        metavar="COL",
        help="Column with the labels (ground truth), to measure the performance on both tables.",
    ),
    click.option(
        "--probability",
        "pairs",
        multiple=True,
        metavar="CLASS=COL",
        help="Column with the probability of a class; may be repeated.",
    ),
    click.option(
        "--task",
        type=click.Choice(["classification", "regression"]),
        help="Task of the model; needed for more than 20 different whole numbers.",
    ),
    click.option(
        "--smallest-loss",
        metavar="LOSS",
        help="Smallest loss that is an alarm, such as 0.05, or '5%' of an error [default: "
        "alarms.smallest_loss, which is 0.02 of accuracy, or a tenth of the mean absolute error].",
    ),
)

MODEL_OPTIONS = ("prediction", "label", "pairs", "task", "smallest_loss")
"""Parameters of the options."""


def model_options(command: F) -> F:
    """Add the options of the columns of a model; the command gets them as one mapping of values."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def role_candidates(values: Mapping[str, Any]) -> tuple[str | None, ...]:
    """Return the names that may be columns of the model, for reading tables; others are ignored.

    Without labels there are none: predictions are then columns like all others.
    """
    if not values["label"]:
        return ()
    columns = (pair[i + 1 :] for pair in values["pairs"] for i, letter in enumerate(pair) if letter == "=")
    return (values["prediction"], values["label"], *columns)


def named_roles(values: Mapping[str, Any]) -> tuple[str | None, ...]:
    """Return the names of the columns of the model that need no table to be known."""
    columns = (pair.partition("=")[2] for pair in values["pairs"] if pair.count("=") == 1)
    return (values["prediction"], values["label"], *columns)


def read_roles(values: Mapping[str, Any], columns: Collection[str], settings: Settings) -> ModelRoles:
    """Return the columns of the model that the options name.

    Args:
        values: values of the options by parameter; others are ignored.
        columns: names of the columns of the reference.
        settings: their section `[alarms]` has the smallest loss, and a budget per checks the error rate.

    Raises:
        ConfigError: an option is missing that another one needs, or a value is invalid.
    """
    from driftbell.wiring.model_roles import ModelRoles

    if not any(values[name] for name in MODEL_OPTIONS):
        return ModelRoles()
    budget = settings.alarms.budget
    return ModelRoles(
        values["prediction"],
        values["label"],
        parse_probabilities(values["pairs"], columns),
        values["task"],
        values["smallest_loss"],
        _compared_loss(settings),
        None if budget.checks is None else 1 / budget.checks_per_alarm(),
    )


def parse_probabilities(pairs: tuple[str, ...], columns: Collection[str]) -> dict[str, str]:
    """Return the column with the probability of each class.

    Args:
        pairs: texts CLASS=COL. Both may contain '=': a text is split at the last '=' that is followed by the
            name of a column.
        columns: names of the columns.

    Raises:
        ConfigError: a text has no '=', or a class is named twice.
    """
    column_by_class: dict[str, str] = {}
    for pair in pairs:
        name, column = _split(pair, columns)
        if name in column_by_class:
            raise ConfigError(f"--probability: the class '{name}' is named twice")
        column_by_class[name] = column
    return column_by_class


def _split(pair: str, columns: Collection[str]) -> tuple[str, str]:
    places = [i for i, letter in enumerate(pair) if letter == "=" and 0 < i < len(pair) - 1]
    if not places:
        raise ConfigError(f"--probability must be CLASS=COL, got '{pair}'")
    at = next((i for i in reversed(places) if pair[i + 1 :] in columns), places[-1])
    return pair[:at], pair[at + 1 :]


def _compared_loss(settings: Settings) -> SmallestLoss:
    from driftbell.config.alarms import compared_loss  # reading settings takes long

    return compared_loss(settings.alarms)
