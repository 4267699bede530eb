"""The public interface: `driftbell.__all__` has every type that its functions return, and every error."""

from __future__ import annotations

import dataclasses
import inspect
import sys
import types
import typing
from collections.abc import Iterator
from typing import Any

import driftbell
from driftbell import errors


def classes(annotation: Any) -> Iterator[type]:
    """Yield driftbell's classes in an annotation, and those of their public fields and methods."""
    for argument in typing.get_args(annotation):
        yield from classes(argument)
    if isinstance(annotation, type) and annotation.__module__.startswith("driftbell"):
        yield annotation
        if dataclasses.is_dataclass(annotation):
            fields = {f.name for f in dataclasses.fields(annotation) if not f.name.startswith("_")}
            hints = typing.get_type_hints(annotation)
            for name in fields:
                yield from classes(hints[name])
        for name, method in vars(annotation).items():
            if isinstance(method, types.FunctionType) and not name.startswith("_"):
                yield from classes(typing.get_type_hints(method).get("return"))


def test_every_returned_type_is_public() -> None:
    functions = [f for f in map(driftbell.__getattr__, driftbell.__all__) if inspect.isfunction(f)]
    returned = {c for f in functions for c in classes(typing.get_type_hints(f)["return"])}
    assert len(functions) == 7
    assert {c.__name__ for c in returned} <= set(driftbell.__all__)


def test_every_error_is_public() -> None:
    tree = {c.__name__ for c in vars(errors).values() if inspect.isclass(c) and issubclass(c, Exception)}
    assert tree <= set(driftbell.__all__)


def test_public_names_exist_and_are_not_modules() -> None:
    assert len(set(driftbell.__all__)) == len(driftbell.__all__)
    for name in driftbell.__all__:
        assert not inspect.ismodule(getattr(driftbell, name)), name
        assert f"driftbell.{name}" not in sys.modules, name
