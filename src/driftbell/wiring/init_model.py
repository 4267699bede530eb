"""First configuration of a model: what it needs of its reference, its score, and its golden answers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from driftbell.atomic_write import write_atomically
from driftbell.config.settings import ModelSettings, Settings
from driftbell.config.sources import values_of_environment
from driftbell.errors import ConfigError, UntrustedModelError
from driftbell.models.golden import write_golden
from driftbell.models.remote import RemoteOptions
from driftbell.phrases import join_names
from driftbell.wiring.examined_model import DEFAULT_OUTPUT, InitOptions, examine_model
from driftbell.wiring.init_result import InitResult, feature_facts
from driftbell.wiring.init_source import write_query
from driftbell.wiring.init_toml import Configuration, configuration_text
from driftbell.wiring.offered_model import OfferedModel, offer_model
from driftbell.wiring.sql_tables import is_database

MAX_EXAMPLE = 200
"""Characters of an example row that is printed; a longer one is written to a file."""


def init_model(options: InitOptions, trust: Callable[[UntrustedModelError], bool]) -> InitResult:
    """Write the configuration of a model, and beside it golden answers and a long example row.

    Args:
        options: the user's options.
        trust: asks whether a model may be loaded that can run code; false refuses it.

    Raises:
        ConfigError: a file cannot be read or written, or the reference does not fit.
    """
    golden, stored = _beside(options.output, "golden.json"), _beside(options.output, "reference.parquet")
    from_database = is_database(options.reference)
    row = _beside(options.output, "example_row.json")
    _check_files(options, [golden, row, *([stored] if from_database else [])])
    if options.query and not from_database:
        raise ConfigError("--query needs a database such as sqlite:///FILE or postgresql://USER@HOST/NAME")
    offered = offer_model(
        options.model, options.classes, RemoteOptions(options.protocol), trust, _load_limit()
    )
    with _reference_file(options, stored) as (reference, dropped):
        return _init(options, offered, reference, golden, row, dropped)


def _init(
    options: InitOptions,
    offered: OfferedModel,
    reference: Path,
    golden: Path,
    row: Path,
    dropped: dict[str, str],
) -> InitResult:
    examined = examine_model(options, offered, reference)
    model, table, plan = examined.reading.model, examined.reading.table.columns, examined.plan
    if examined.golden:
        write_golden(golden, model, examined.golden)
    written = golden if examined.golden else None
    body = json.dumps(model.schema.example, ensure_ascii=False)
    is_long = len(body) > MAX_EXAMPLE
    if is_long:
        _write(row, json.dumps(model.schema.example, ensure_ascii=False, indent=1) + "\n")
    configuration = _configuration(options, examined.settings, examined.other_types, written)
    _write(options.output, configuration_text(configuration))
    return InitResult(
        output=options.output,
        golden=written,
        golden_rows=len(examined.golden),
        no_golden=examined.no_golden,
        model=options.model,
        name=model.name,
        version=examined.served.version,
        sha256=offered.sha256,
        estimator=offered.estimator,
        task=model.task.value,
        classes=model.classes,
        threshold=examined.settings.model.threshold,
        reference=reference,
        rows=examined.rows,
        target=plan.target,
        why_target=plan.why_target,
        features=tuple(feature_facts(f, table[f.name]) for f in model.schema.features),
        left_out={**dropped, **plan.left_out},
        other_types=examined.other_types,
        score=examined.score,
        warnings=examined.warnings,
        label_candidates=plan.candidates,
        example=model.schema.example,
        example_file=row if is_long else None,
    )


def _load_limit() -> float:
    """Return `model.load_timeout` of the environment in seconds; there is no configuration file yet."""
    values = {name: value for name, value, _ in values_of_environment(os.environ)}
    given = {"load_timeout": values["model.load_timeout"]} if "model.load_timeout" in values else {}
    try:
        return ModelSettings.model_validate(given).load_timeout.total_seconds()
    except ValidationError as error:
        reason = error.errors()[0]["msg"].partition(", ")[2]
        raise ConfigError(f"DRIFTBELL_MODEL__LOAD_TIMEOUT {reason}") from error


def _configuration(
    options: InitOptions, settings: Settings, other_types: Mapping[str, str], golden: Path | None
) -> Configuration:
    model, columns = settings.model, settings.columns
    return Configuration(
        command=options.command,
        name=str(model.name),
        path=options.model,
        reference=Path(str(model.reference)),
        sha256=model.sha256,
        target=model.target,
        classes=options.classes,
        threshold=model.threshold,
        protocol=options.protocol,
        golden=golden,
        exclude=columns.exclude,
        kinds=columns.kinds,
        dtypes={**columns.dtypes, **other_types},
        keep_null_words=columns.keep_null_words,
    )


def _beside(output: Path, name: str) -> Path:
    """Return a file beside the configuration; with another name than the usual one, it begins with that."""
    return output.parent / (name if output.name == DEFAULT_OUTPUT.name else f"{output.stem}.{name}")


def _check_files(options: InitOptions, others: Sequence[Path]) -> None:
    """Check that the files can be written, before the work begins.

    Raises:
        ConfigError: the folder is missing, or a file exists and is not to be replaced.
    """
    if options.output.is_dir():
        raise ConfigError(f"--output: {options.output} is a folder: name a file, such as driftbell.toml")
    if not options.output.parent.is_dir():
        raise ConfigError(f"--output: there is no folder {options.output.parent}: create it first")
    files = [options.output, *others]
    for path in files:
        for source in (options.model, Path(options.reference)):
            if isinstance(source, Path) and path.exists() and source.exists() and path.samefile(source):
                raise ConfigError(f"--output: {path} would replace the file that is read: name another one")
    existing = [str(path) for path in files if path.exists()]
    if existing and not options.force:
        verb = "exists" if len(existing) == 1 else "exist"
        raise ConfigError(
            f"{join_names(existing)} {verb}: pass --force to replace, or name another file with --output"
        )


@contextmanager
def _reference_file(options: InitOptions, stored: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """Yield the file of the reference, and the reason by column for those that it does not have.

    The rows of a query are written to a file, which is removed if the work fails.
    """
    if not is_database(options.reference):
        yield Path(options.reference), {}
        return
    before = stored.read_bytes() if stored.exists() else None
    left_out = write_query(options.reference, options.query, stored)
    try:
        yield stored, left_out
    except BaseException:
        if before is None:
            stored.unlink(missing_ok=True)
        else:
            write_atomically(stored, before)
        raise


def _write(path: Path, text: str) -> None:
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise ConfigError(f"--output: cannot write {path}: {error.strerror}") from error
