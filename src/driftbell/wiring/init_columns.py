"""Columns of a reference for `driftbell init`: the features of the model, the label, and all others."""

from __future__ import annotations

import glob
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from driftbell.errors import ConfigError
from driftbell.models.loaded import LoadedModel
from driftbell.phrases import count_of, join_names, printable, similar_name, suggest_column, suggest_name
from driftbell.records import Kind, Task
from driftbell.tabular.cells import Form
from driftbell.tabular.class_names import ClassNames, is_empty_label, label_text
from driftbell.tabular.column_kind import RUNNING, Decision, decide_kind
from driftbell.tabular.column_options import ColumnOptions, select_columns, user_kind
from driftbell.tabular.features import feature_columns
from driftbell.tabular.number_categories import as_category
from driftbell.tabular.raw_table import RawTable
from driftbell.tabular.text_column import TextColumn

MIN_MATCHES = 0.9
"""Share of a column's values that must be classes of the model, so that it may be the label."""

LABEL_NAME = re.compile(r"(?i)^(label|target|class|y|truth|outcome|response)s?$")
"""Usual names of a label."""


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """Roles of the columns of a reference for a model.

    Attributes:
        target: the column of the label; None without.
        why_target: why the column was taken for the label; "" if the user named it.
        left_out: the reason by column for those that are neither features nor the label.
        excluded: names of these columns as the setting `columns.exclude` has them.
        warnings: what the user should know or decide.
        candidates: columns of which each could be the label, if none was chosen.
    """

    target: str | None
    why_target: str
    left_out: dict[str, str]
    excluded: tuple[str, ...]
    warnings: tuple[str, ...]
    candidates: tuple[str, ...] = ()


@dataclass(slots=True)
class _Planner:
    """The columns of a reference, and the model.

    Attributes:
        raw: the reference.
        source: its name for messages.
        model: the model's name for messages.
        loaded: the model.
        options: the user's options.
        names: columns that the options select.
        ids: whether labels may be class ids.
        warnings: see `ColumnPlan`.
        candidates: see `ColumnPlan`.
    """

    raw: RawTable
    source: str
    model: str
    loaded: LoadedModel
    options: ColumnOptions
    names: list[str]
    ids: bool
    warnings: list[str] = field(default_factory=list)
    candidates: tuple[str, ...] = ()
    decisions: dict[str, Decision] = field(default_factory=dict)

    def decide(self, name: str) -> Decision:
        """Return the kind by which a column is compared, and why."""
        if (kind := user_kind(name, self.options)) is not None:
            return Decision(kind)
        if name not in self.decisions:
            cells = as_category(self.raw.columns[name])
            texts = None
            if cells.form is Form.TEXTS:
                texts = TextColumn(
                    cells.data,
                    tuple(self.options.nulls),
                    self.raw.decimal,
                    keep_null_words=self.options.keeps_null_words(name),
                )
            self.decisions[name] = decide_kind(name, cells, texts)
        return self.decisions[name]

    def is_identifier(self, name: str) -> bool:
        return self.decide(name).kind is Kind.IDENTIFIER

    def reason(self, name: str) -> str:
        """Return why a column is left out that the model does not need."""
        decision = self.decide(name)
        match decision.kind:
            case Kind.IDENTIFIER:
                return f"identifier: {decision.reason}"
            case Kind.NESTED:
                return decision.reason
            case None:
                return "it has no values"
        return "not a feature of the model"

    def fits(self, name: str) -> bool:
        """Return whether a column may be the label."""
        decision = self.decide(name)
        if decision.kind is None or decision.kind is Kind.NESTED:
            return False
        if self.loaded.task is Task.REGRESSION:
            return decision.kind is Kind.NUMERIC
        if not self.loaded.classes:
            return decision.kind is not Kind.IDENTIFIER
        counts = self.values(name)
        names = ClassNames(self.loaded.classes, ids=self.ids)
        known = sum(count for value, count in counts.items() if names.find(value) is not None)
        return known >= MIN_MATCHES * max(1, counts.total())

    def values(self, name: str) -> Counter[object]:
        """Return the values of a column other than null, with their numbers."""
        table = replace(self.raw, columns={name: self.raw.columns[name]})
        reading = ColumnOptions(nulls=self.options.nulls, keep_null_words=self.options.keep_null_words)
        values = feature_columns(table, reading, strict=False)[name].tolist()
        return Counter(v for v in values if not is_empty_label(v))

    def guess(self, candidates: Sequence[str], *, ordered: bool = False) -> tuple[str | None, str]:
        """Return the column that is probably the label, and why; None if it is not clear.

        Args:
            candidates: names of columns.
            ordered: whether the last column may be chosen among several, as tables are usually written.
        """
        fitting = [name for name in candidates if self.fits(name)]
        what = "numbers" if self.loaded.task is Task.REGRESSION else "the classes of the model"
        if not self.loaded.classes and self.loaded.task is Task.CLASSIFICATION:
            what = "values of a label"
        if len(fitting) == 1:
            return fitting[0], f"the only further column with {what}"
        named = [name for name in fitting if LABEL_NAME.search(name)]
        if len(named) == 1:
            return named[0], f"it has {what}, and the name of a label"
        if fitting and ordered and fitting[-1] == candidates[-1]:
            return fitting[-1], f"the last column, with {what}"
        if fitting:
            self.candidates = tuple(fitting)
            self.warnings.append(
                f"several columns could be the label: {join_names(fitting)}: name it with --target to "
                "measure the performance"
            )
        return None, ""


def plan_columns(
    raw: RawTable,
    loaded: LoadedModel,
    options: ColumnOptions,
    *,
    target: str | None,
    source: str,
    model: str,
    ids: bool = False,
) -> ColumnPlan:
    """Decide which columns of a reference are features, which is the label, and which are left out.

    Args:
        raw: the reference.
        loaded: the model.
        options: the user's options for the columns.
        target: the label as the user named it; None if it is to be guessed.
        source: name of the reference, for messages.
        model: name of the model, for messages.
        ids: whether labels may be class ids, as where the user has named the classes 0 to n-1.

    Raises:
        ConfigError: the reference does not have the model's features; the message has both lists.
    """
    names = select_columns(list(raw.columns), options, strict=True)
    planner = _Planner(raw, source, model, loaded, options, names, ids)
    if target is not None:
        _check_target(planner, target)
    if loaded.feature_names:
        chosen, why, left_out = _by_name(planner, target)
    else:
        chosen, why, left_out = _by_count(planner, target)
    reasons = {name: planner.reason(name) for name in left_out}
    if chosen is None and loaded.task is Task.CLASSIFICATION:
        planner.warnings += _other_class_names(planner, left_out)
    if chosen is not None and (text := classes_advice(loaded, planner.values(chosen))):
        planner.warnings.append(
            f"'{printable(chosen)}' has two values, and the model is a regression: {text}"
        )
    features = [name for name in names if name not in left_out and name != chosen]
    planner.warnings += _needed_identifiers(planner, features)
    user = {name: "by --exclude" for name in raw.columns if name not in names}
    excluded = (*options.exclude, *map(glob.escape, reasons))
    candidates = () if chosen else planner.candidates
    return ColumnPlan(chosen, why, {**user, **reasons}, excluded, tuple(planner.warnings), candidates)


def classes_advice(loaded: LoadedModel, values: Collection[object]) -> str:
    """Return how to make a regression a classifier of two classes; "" if it cannot be one.

    Args:
        loaded: the model.
        values: different values of the label.
    """
    decides = loaded.task is Task.REGRESSION and loaded.classes_decide
    return two_classes_advice(values) if decides else ""


def two_classes_advice(values: Collection[object]) -> str:
    """Return how to make a regression a classifier of the two values of the label; "" if they are not two."""
    if len(values) != 2:
        return ""
    names = ",".join(sorted(map(label_text, values)))
    return f"if its numbers are scores of the second of two classes, name both with --classes '{names}'"


def _check_target(planner: _Planner, target: str) -> None:
    name = printable(target)
    if target not in planner.raw.columns:
        hint = suggest_column(target, planner.names)
        raise ConfigError(f"--target: {planner.source} has no column '{name}': {hint}")
    if target not in planner.names:
        raise ConfigError(f"--target: --exclude leaves out column '{name}': remove one of both")
    if target in planner.loaded.feature_names:
        raise ConfigError(
            f"--target: '{name}' is a feature that {planner.model} was fitted on, so it cannot be the label"
        )


def _by_name(planner: _Planner, target: str | None) -> tuple[str | None, str, list[str]]:
    """Return the label, why, and the columns to leave out, for a model that knows its features' names."""
    features = planner.loaded.feature_names
    extras = [name for name in planner.names if name not in features and name != target]
    missing = [name for name in features if name not in planner.names]
    if missing:
        raise ConfigError(_missing(planner, missing, extras, target))
    if target is not None:
        return target, "", extras
    chosen, why = planner.guess(extras)
    return chosen, why, [name for name in extras if name != chosen]


def _missing(planner: _Planner, missing: list[str], extras: list[str], target: str | None) -> str:
    excluded = [name for name in missing if name in planner.raw.columns]
    if excluded:
        return f"{planner.model} needs {join_names(excluded)}: remove --exclude"
    message = (
        f"{planner.source} does not have the features of {planner.model}: missing {join_names(missing)}; "
        f"the model was fitted on {join_names(planner.loaded.feature_names, max_names=40)}; "
        f"the file has {join_names(planner.names, max_names=40)}"
    )
    renamed = {}
    for name in missing[:5]:
        similar = similar_name(name, extras)
        if similar:
            renamed[name] = similar
            message += f"; for '{printable(name)}', {suggest_name(name, [similar])}"
    others = [name for name in extras if name not in renamed.values()]
    if target is None and len(others) > len(missing) - len(renamed):  # otherwise all may be features
        label, _ = planner.guess(others)
        message += f"; the label is probably '{printable(label)}'" if label else ""
    end = "" if message.endswith("?") else "."
    return f"{message}{end} Use a table with the columns that the model was fitted on, under the same names"


def _by_count(planner: _Planner, target: str | None) -> tuple[str | None, str, list[str]]:
    """Return the label, why, and the columns to leave out, for a model that knows no names.

    Identifiers are left out if their number fits, and the label is guessed among what is left.
    """
    names, count = planner.names, planner.loaded.feature_count
    useless = [n for n in names if planner.is_identifier(n) or planner.decide(n).kind in (None, Kind.NESTED)]
    useful = [name for name in names if name not in useless]
    if target is not None:
        choices = [[n for n in columns if n != target] for columns in (names, useful)]
        for features in choices:
            if count in (None, len(features)):
                chosen = choices[1] if count is None else features
                return target, "", [n for n in names if n not in chosen and n != target]
        raise ConfigError(_wrong_count(planner, choices[1], target))
    for columns in (names, useful):
        if count is not None and len(columns) == count + 1:
            label, why = planner.guess(columns, ordered=True)
            if label is not None:
                return label, why, [n for n in names if n not in columns]
        if len(columns) == count:
            planner.warnings += _last_may_be_label(planner, columns[-1])
            return None, "", [n for n in names if n not in columns]
    if count is None:
        label, why = planner.guess(useful)
        return label, why, useless
    raise ConfigError(_wrong_count(planner, names, None))


def _last_may_be_label(planner: _Planner, name: str) -> list[str]:
    is_label = planner.loaded.task is Task.CLASSIFICATION and planner.fits(name)
    if not (is_label or LABEL_NAME.search(name)):
        return []
    return [
        f"the model does not know the names of its features, so all {planner.loaded.feature_count} columns "
        f"are taken for them. If '{printable(name)}' is the label, a feature is missing in {planner.source}"
    ]


def _wrong_count(planner: _Planner, names: Sequence[str], target: str | None) -> str:
    count = planner.loaded.feature_count or 0
    label = f" besides the label '{printable(target)}'" if target is not None else ""
    message = (
        f"{planner.model} takes {count_of(count, 'feature')}, {planner.source} has "
        f"{count_of(len(names), 'column')}{label}: "
        f"{join_names(names, max_names=40)}. The model was fitted without the columns' names"
    )
    if len(names) < count:
        return f"{message}, so use a table with its {count} features in the same order"
    advice = "leave the others out with --exclude NAME"
    if target is not None:
        return f"{message}: {advice}"
    name, classes = _two_valued(planner, names)
    guess = name or next((n for n in reversed(names) if planner.fits(n)), None)
    advice += f", and name the label with --target {'COL' if guess is None else repr(guess)}"
    return f"{message}: {advice}{f'; {classes}' if classes else ''}"


def _two_valued(planner: _Planner, names: Sequence[str]) -> tuple[str, str]:
    """Return the last column that may be the label of two classes, and the advice on it; "" without one."""
    for name in reversed(names):
        if planner.decide(name).kind in (Kind.CATEGORICAL, Kind.BOOLEAN, Kind.NUMERIC):
            advice = classes_advice(planner.loaded, planner.values(name))
            if advice:
                return name, advice
    return "", ""


def _other_class_names(planner: _Planner, left_out: list[str]) -> list[str]:
    """Return a warning on a column that has as many values as the model has classes, but other ones."""
    classes = planner.loaded.classes
    candidates = [*(n for n in left_out if LABEL_NAME.search(n)), *reversed(left_out)]
    for name in candidates:
        if planner.decide(name).kind not in (Kind.CATEGORICAL, Kind.BOOLEAN, Kind.NUMERIC):
            continue
        values = planner.values(name)
        if len(values) == len(classes) and not planner.fits(name):
            texts = sorted(map(label_text, values))
            advice = "write it with these"
            if list(classes) == [str(i) for i in range(len(classes))]:
                advice = f"name the classes in the model's order, such as --classes '{','.join(texts)}'"
            return [
                f"'{printable(name)}' is left out: its values {join_names(texts)} are not the classes of the "
                f"model ({join_names(classes)}). If it is the label, {advice}"
            ]
    return []


def _needed_identifiers(planner: _Planner, features: Sequence[str]) -> list[str]:
    """Return warnings on features that look like identifiers."""
    if len(features) < 2 and not planner.loaded.feature_names:
        return []
    return [
        f"'{printable(name)}' looks like an identifier ({planner.decide(name).reason}), but the model was "
        f"fitted on it: its new values are unlike those of the reference, so {_effect(planner.decide(name))}"
        for name in features
        if planner.is_identifier(name) and planner.decide(name).basic is not Kind.DATETIME
    ]


def _effect(decision: Decision) -> str:
    """Return what checks make of a feature that looks like an identifier."""
    return "they are not compared" if decision.reason in RUNNING else "it may always look drifted"
