"""Advice on pickled models that cannot be loaded: missing modules, scripts, other versions of libraries."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

SCRIPT = re.compile(r"[Cc]an't get attribute '([^']+)' on <module '(?:__main__|__mp_main__)'")
LIBRARY = re.compile(r"[Cc]an't get attribute '([^']+)' on <module '((?:sklearn|numpy|scipy)\b[^']*)'")
SAVED_VERSION = re.compile(rb"_sklearn_version[^0-9]{1,12}?(\d+\.\d+(?:\.\w+)*)")


@contextmanager
def saved_versions() -> Iterator[list[str]]:
    """Yield a list that gets the versions of scikit-learn that saved a model, if it is another one.

    The warnings of the block are issued again at its end.
    """
    versions: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield versions
    for entry in caught:
        version = getattr(entry.message, "original_sklearn_version", None)
        if isinstance(version, str):
            versions.append(version)
        warnings.warn_explicit(entry.message, entry.category, entry.filename, entry.lineno)


def load_advice(error: Exception, content: bytes) -> str:
    """Return what to do about an error of loading a pickled model; "" if it is not known.

    Args:
        error: the error.
        content: the file.
    """
    if script := SCRIPT.search(str(error)):
        return (
            f"'{script[1]}' was defined in the script that saved the model: move it to a module, such as "
            "features.py beside the model, import it from there in the script, and save the model again"
        )
    if isinstance(error, ModuleNotFoundError) and error.name and not _is_library(error.name):
        package = error.name.partition(".")[0]  # it is there: `load_with` has looked for it
        return f"the {package} that is imported has no '{error.name}': use the version that saved the model"
    return _version_advice(error, content)


def version_note(model: object) -> str:
    """Return "; " and what to do if a model that fails was saved by another scikit-learn; "" if it was not.

    Args:
        model: the model; its loader has kept the version.
    """
    saved = getattr(getattr(model, "loaded", None), "saved_by", "")
    advice = _other_version(saved) if saved else ""
    return f"; {advice}" if advice else ""


def _other_version(saved: str) -> str:
    import sklearn

    if saved == sklearn.__version__:
        return ""
    return (
        f"the model was saved by scikit-learn {saved}, and this is {sklearn.__version__}: "
        f"pip install 'scikit-learn=={saved}', or save the model again with {sklearn.__version__}"
    )


def _version_advice(error: Exception, content: bytes) -> str:
    import sklearn

    saved = SAVED_VERSION.search(content)
    advice = _other_version(saved[1].decode()) if saved else ""
    if advice:
        return advice
    if LIBRARY.search(str(error)) or isinstance(error, ModuleNotFoundError):
        return (
            f"the model was probably saved by another version of scikit-learn than {sklearn.__version__}: "
            "install that one, or save the model again"
        )
    return ""


def _is_library(module: str) -> bool:
    return module.partition(".")[0] in ("sklearn", "numpy", "scipy")
