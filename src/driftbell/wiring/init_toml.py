"""Text of the configuration that `driftbell init` writes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Configuration:
    """Values of the configuration of a model.

    Attributes:
        command: the command that writes it, for the first comment.
        name: `model.name`.
        path: `model.path`.
        reference: `model.reference`.
        sha256: `model.sha256`; None if the file needs no consent.
        target: `model.target`; None without.
        classes: `model.classes`; none for the model's own.
        threshold: `model.threshold`; None without.
        protocol: `model.protocol`.
        golden: `model.golden`; None without.
        exclude: `columns.exclude`.
        kinds: `columns.kinds`.
        dtypes: `columns.dtypes`.
        keep_null_words: `columns.keep_null_words`.
    """

    command: str
    name: str
    path: Path | str
    reference: Path
    sha256: str | None = None
    target: str | None = None
    classes: Sequence[str] = ()
    threshold: Mapping[str, float] | None = None
    protocol: str = "json"
    golden: Path | None = None
    exclude: Sequence[str] = ()
    kinds: Mapping[str, str] = field(default_factory=dict)
    dtypes: Mapping[str, str] = field(default_factory=dict)
    keep_null_words: Sequence[str] = ()


def toml_string(text: str) -> str:
    r"""Return a text as a string of TOML.

    >>> print(toml_string('a "b"' + chr(10) + chr(127)))
    "a \"b\"\n\u007f"
    """
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def configuration_text(values: Configuration) -> str:
    """Return the content of the configuration file, with a comment on each value."""
    lines = [
        f"# Written by: {values.command}",
        "# Paths are relative to the folder in which driftbell is started.",
        "# `driftbell config` prints every setting.",
        "",
        "[model]",
        f"name = {toml_string(values.name)}",
        f"path = {toml_string(str(values.path))}",
    ]
    if values.protocol != "json":
        lines.append(f"protocol = {toml_string(values.protocol)}")
    if values.sha256:
        lines += [
            "# Your consent to load this file. For a changed file, run `driftbell init --force` again.",
            f"sha256 = {toml_string(values.sha256)}",
        ]
    lines += [
        "# Predictions are compared with these rows. Rows that the model was not fitted on are best.",
        f"reference = {toml_string(str(values.reference))}",
    ]
    if values.target is not None:
        lines += ["# The column of the reference with the labels.", f"target = {toml_string(values.target)}"]
    if values.classes:
        names = ", ".join(map(toml_string, values.classes))
        lines += ["# Names of the classes that the model answers as 0, 1 and so on.", f"classes = [{names}]"]
    if values.threshold:
        pairs = ", ".join(f"{_key(name)} = {value!r}" for name, value in values.threshold.items())
        lines += [
            "# Predicted only from this probability on; below it, the most probable other class is.",
            f"threshold = {{ {pairs} }}",
        ]
    if values.golden is not None:
        lines += [
            "# Answers of the model's own library: the service starts only if it gives the same ones.",
            f"golden = {toml_string(str(values.golden))}",
        ]
    lines += [*_columns(values), "", *_DEFAULTS.splitlines()]
    return "\n".join(lines) + "\n"


def _columns(values: Configuration) -> list[str]:
    lines = []
    if values.exclude:
        names = ", ".join(map(toml_string, values.exclude))
        lines += [
            "# Columns of the reference that are neither features nor the label.",
            f"exclude = [{names}]",
        ]
    if values.kinds:
        lines += ["# Kinds of columns.", f"kinds = {_table(values.kinds)}"]
    if values.dtypes:
        lines += ["# Types in which the model is given columns.", f"dtypes = {_table(values.dtypes)}"]
    if values.keep_null_words:
        names = ", ".join(map(toml_string, values.keep_null_words))
        lines += ["# Columns in which NA, None and the like are texts.", f"keep_null_words = [{names}]"]
    return ["", "[columns]", *lines] if lines else []


def _table(values: Mapping[str, str]) -> str:
    pairs = (f"{_key(name)} = {toml_string(value)}" for name, value in values.items())
    return f"{{ {', '.join(pairs)} }}"


def _key(name: str) -> str:
    return name if BARE_KEY.fullmatch(name) else toml_string(name)


_DEFAULTS = """\
# Often changed, with the defaults:
# [server]
# port = 8000
# [check]
# every = "5m"             # interval of checks
# [window]
# rows = 500               # newest predictions that a check judges
# [alarms]
# budget = "1 per 30d"     # accepted rate of false alarms
# [notifications]
# urls = []                # receivers of alarms, such as "mailto://…"\
"""
