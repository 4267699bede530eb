"""What each setting means: the text below it in the source, read only where somebody asks."""

from __future__ import annotations

import ast
import inspect
import itertools

from driftbell.config import settings as config


def descriptions() -> dict[str, str]:
    """Give every setting's description by its dotted name."""
    source = ast.parse(inspect.getsource(config))
    texts = {part.name: _texts(part) for part in source.body if isinstance(part, ast.ClassDef)}
    sections = {key: field.annotation for key, field in config.Settings.model_fields.items()}
    found = {}
    for name in config.names():
        section, _, key = name.rpartition(".")
        where = getattr(sections[section], "__name__", "") if section else "Settings"
        found[name] = texts[where].get(key, "")
    return found


def _texts(section: ast.ClassDef) -> dict[str, str]:
    found = {}
    for field, text in itertools.pairwise(section.body):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                found[name] = words
    return found
