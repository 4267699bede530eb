"""Command init: the first configuration of your own model."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from driftbell.cli.model_output import output_of_model
from driftbell.cli.model_process import name_model
from driftbell.cli.root import cli
from driftbell.cli.table_options import TableCommand
from driftbell.errors import ConfigError
from driftbell.phrases import count_of, join_names, printable

if TYPE_CHECKING:
    from driftbell.errors import UntrustedModelError
    from driftbell.tabular.column_options import ColumnOptions
    from driftbell.wiring.init_result import FeatureFacts, InitResult
    from driftbell.wiring.init_score import Score

MAX_FEATURES = 40
"""Features that are printed."""

METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "mae": "mean absolute error",
    "r2": "R²",
}


@cli.command(cls=TableCommand)
@click.argument("model")
@click.option(
    "--reference",
    required=True,
    metavar="TABLE",
    help="Rows like the training data, best ones that the model was not fitted on: a table file, or a "
    "database with --query.",
)
@click.option("--target", metavar="COL", help="Column with the labels [default: detected].")
@click.option("--query", metavar="SQL", help="Query of a database; its rows are written to a Parquet file.")
@click.option(
    "-o",
    "--output",
    default="driftbell.toml",
    show_default=True,
    metavar="FILE",
    help="Configuration to write; golden.json, and example_row.json for a wide model, are written beside it.",
)
@click.option("--force", is_flag=True, help="Replace existing files.")
@click.option("--trust", is_flag=True, help="Load a model that can run code, such as a pickle.")
@click.option("--name", help="Name of the model [default: that of its file].")
@click.option(
    "--classes",
    metavar="NAMES",
    help="Names of the classes that the model answers as 0, 1, ..., as 'no,yes'.",
)
@click.option(
    "--threshold",
    metavar="CLASS=P",
    help="Predict a class only from a probability on, such as churn=0.8; else the most probable other one.",
)
@click.option(
    "--protocol",
    type=click.Choice(["json", "mlflow", "v2"]),
    default="json",
    show_default=True,
    help="Protocol of the server of a URL.",
)
@click.option("--exclude", multiple=True, metavar="NAMES", help="Columns that are not read, as 'id,row_*'.")
@click.option(
    "--column", "kinds", multiple=True, metavar="NAME=KIND", help="Kind of a column; may be repeated."
)
@click.option(
    "--dtype",
    "dtypes",
    multiple=True,
    metavar="NAME=TYPE",
    help="Type in which the model is given a column, such as zip=str or store=int64; may be repeated.",
)
@click.option(
    "--keep-null-words",
    "keep_null_words",
    multiple=True,
    metavar="NAMES",
    help="Columns in which NA, None and the like are texts and not null, such as 'region'.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the same facts as JSON.")
def init(
    model: str,
    reference: str,
    target: str | None,
    query: str | None,
    output: str,
    force: bool,
    trust: bool,
    name: str | None,
    classes: str | None,
    threshold: str | None,
    protocol: str,
    as_json: bool,
    **columns: tuple[str, ...],
) -> None:
    """Write the configuration of your own model, ready for `driftbell up`.

    MODEL is a file of scikit-learn (.skops, .joblib, .pkl), ONNX, LightGBM, XGBoost, CatBoost or PyTorch
    (.pt2), a folder of MLflow, a function of yours ('module:function'), or the URL of a server.

    Loads the model, reads the reference as the model was fitted on it, and prints the features that the
    service will accept, the columns that are left out with the reason, and the score on the reference.
    Answers of the model's own library are written to golden.json: the service starts only if it gives the
    same ones.

    A pickle, joblib or PyTorch file can run any code when it is loaded: you are asked first, or pass --trust.

    Exit codes: 0 the files are written, 2 they are not; the message says why and what to do.

    \b
    Examples:
      driftbell init churn.joblib --reference held_out.csv
      driftbell init churn.skops --reference held_out.parquet --target churned
      driftbell init churn.joblib --reference held_out.csv --threshold churn=0.8
      driftbell init price.joblib --trust --reference sqlite:///shop.db --query "SELECT * FROM sales"
    """
    from driftbell.wiring.examined_model import InitOptions
    from driftbell.wiring.init_model import init_model

    options = InitOptions(
        model=model_source(model),
        reference=reference,
        target=target,
        query=query,
        output=Path(output),
        name=name,
        classes=tuple(part.strip() for part in classes.split(",")) if classes else (),
        threshold=threshold,
        protocol=protocol,
        columns=column_options(columns),
        force=force,
        command=shlex.join(["driftbell", *sys.argv[1:]]),
    )
    name_model(model)
    with output_of_model():
        result = init_model(options, (lambda _: True) if trust else ask_for_trust)
    if as_json:
        click.echo(json.dumps(_facts(result), indent=1, ensure_ascii=False, default=str))
        return
    for line in _lines(result):
        click.echo(line)


def model_source(text: str) -> Path | str:
    """Return a model as the setting `model.path` has it.

    Raises:
        ConfigError: it is no file, folder, name in a module, or URL.
    """
    from driftbell.config.settings import ModelSettings

    try:
        return ModelSettings.model_validate({"path": text}).path or Path(text)
    except ValueError as error:
        raise ConfigError(
            "MODEL must be a file or folder, 'module:function', or a URL without a user and password"
        ) from error


def column_options(values: dict[str, tuple[str, ...]]) -> ColumnOptions:
    """Return the options `--exclude`, `--column`, `--dtype` and `--keep-null-words` for the columns.

    Raises:
        ConfigError: one has another form.
    """
    from driftbell.tabular.column_options import ColumnOptions, parse_kinds, parse_names
    from driftbell.tabular.dtypes import parse_dtypes

    exclude, keep = (
        tuple(name for text in values.get(option, ()) for name in parse_names(text))
        for option in ("exclude", "keep_null_words")
    )
    kinds = _pairs("--column", "zip=categorical", values["kinds"], parse_kinds)
    dtypes = _pairs("--dtype", "zip=str", values["dtypes"], parse_dtypes)
    return ColumnOptions(kinds, exclude, dtypes=dtypes, keep_null_words=keep)


def _pairs(
    option: str, example: str, texts: tuple[str, ...], parse: Callable[[object], dict[str, str]]
) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        name, separator, value = text.rpartition("=")
        if not separator:
            raise ConfigError(f"{option} must be such as '{example}', got '{text}'")
        try:
            pairs |= parse({name: value})
        except ValueError as error:
            raise ConfigError(f"{option}: {error}") from error
    return pairs


def ask_for_trust(error: UntrustedModelError) -> bool:
    """Ask on a terminal whether to load a model; without one, it is not loaded."""
    if not sys.stdin.isatty():
        return False
    click.echo(f"{error.reason}.\nIts SHA-256 is {error.sha256}.", err=True)
    return click.confirm("Load it? Only if you trust where it is from", err=True)


def _facts(result: InitResult) -> dict[str, Any]:
    return {**asdict(result), "next": _next_command(result)}


def _lines(result: InitResult) -> Iterator[str]:
    yield f"Model      {_model_line(result)}"
    for name, probability in (result.threshold or {}).items():
        yield f"Threshold  {printable(name, 40)} is predicted from a probability of {probability!r} on"
    yield f"Reference  {result.reference}, {count_of(result.rows, 'row')}"
    yield ""
    yield from _feature_lines(result.features)
    if result.left_out or result.target is not None:
        yield ""
        yield "Not features:"
        rows = [(printable(name, 40), why) for name, why in result.left_out.items()]
        if result.target is not None:
            why = f": {result.why_target}; --target names another one" if result.why_target else ""
            rows.insert(0, (printable(result.target, 40), f"the label{why}"))
        yield from _aligned(rows[:MAX_FEATURES])
        if len(rows) > MAX_FEATURES:
            yield f"  and {len(rows) - MAX_FEATURES} more; --json prints all"
    yield ""
    yield f"Score      {score_text(result.score, result.label_candidates)}"
    yield f"Golden     {_golden_text(result)}"
    for name, dtype in result.other_types.items():
        yield f"Type       {printable(name)} is read as {dtype}: the model knows its values only in this type"
    for warning in result.warnings:
        yield f"Warning    {warning}"
    yield ""
    yield from _next_lines(result)


def _model_line(result: InitResult) -> str:
    kind = f" ({result.estimator})" if result.estimator else ""
    classes = f" into {join_names(result.classes)}" if result.classes else ""
    return f"{result.name}, version {result.version}: {result.task}{classes}, {result.model}{kind}"


def _feature_lines(features: tuple[FeatureFacts, ...]) -> Iterator[str]:
    header = ("feature", "kind", "type", "null", "values", "example")
    rows = [
        (
            printable(f.name, 40),
            f.kind,
            f.type or "–",
            "yes" if f.nullable else "no",
            printable(f.values, 50),
            printable(json.dumps(f.example, ensure_ascii=False), 30),
        )
        for f in features[:MAX_FEATURES]
    ]
    yield from _aligned([header, *rows])
    if len(features) > MAX_FEATURES:
        yield f"  and {count_of(len(features) - MAX_FEATURES, 'more feature')}; --json prints all"


def _aligned(rows: list[Any]) -> Iterator[str]:
    """Yield rows of texts with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  " + "  ".join(f"{text:<{w}}" for text, w in zip(row, widths, strict=True)).rstrip()


def score_text(score: Score | None, candidates: Sequence[str] = ()) -> str:
    """Return the score on the reference as a text, beside that of a constant answer.

    Args:
        score: the score; None without labels.
        candidates: columns of which each could be the label.
    """
    if score is None and candidates:
        return f"unknown: {join_names(candidates)} could be the label; name it with --target"
    if score is None:
        return "unknown: the reference has no labels (--target names their column)"
    texts = [f"{METRICS[m.name]} {_number(m.value)}" for m in score.metrics]
    baselines = [f"{_number(m.baseline)}" for m in score.metrics]
    rows = count_of(score.rows, "labelled row")
    constant = (
        f"'{printable(score.constant, 30)}'" if isinstance(score.constant, str) else _number(score.constant)
    )
    return f"{join_names(texts)} on {rows} (always {constant} would have {join_names(baselines)})"


def _number(value: float) -> str:
    if abs(value) < 1:
        return f"{value + 0.0:.3f}"
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def _golden_text(result: InitResult) -> str:
    if result.golden is None:
        return f"none: {result.no_golden}"
    return (
        f"{result.golden_rows} rows of the reference are answered as by the model's own library "
        f"({result.golden})"
    )


def _next_command(result: InitResult) -> str:
    if result.output == Path("driftbell.toml"):
        return "driftbell up"
    return f"driftbell up --config {shlex.quote(str(result.output))}"


def _next_lines(result: InitResult) -> Iterator[str]:
    files = [str(path) for path in (result.output, result.golden, result.example_file) if path]
    yield f"{join_names(files)} {'is' if len(files) == 1 else 'are'} written. Serve and monitor the model:"
    yield ""
    yield f"  {_next_command(result)}"
    yield ""
    body = (
        f"@{result.example_file}" if result.example_file else json.dumps(result.example, ensure_ascii=False)
    )
    yield "and in another terminal, a prediction for a row like those of the reference:"
    yield ""
    yield "  curl http://127.0.0.1:8000/predict -H 'Content-Type: application/json' \\"
    yield f"    -d {shlex.quote(body)}"
