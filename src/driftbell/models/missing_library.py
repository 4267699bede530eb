"""Modules that a model needs and that are not installed: libraries of models, and any other one."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from driftbell.errors import MissingExtraError, MissingModuleError, ModelError

EXTRAS = frozenset({"catboost", "lightgbm", "mlflow", "torch", "xgboost"})
"""Modules that an extra of the same name installs, with the other packages that their models need."""

PACKAGES = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "imblearn": "imbalanced-learn",
    "pandas": "pandas",
    "polars": "polars",
    "pyarrow": "pyarrow",
    "skimage": "scikit-image",
    "skops": "skops",
    "sklearn": "scikit-learn",
    "statsmodels": "statsmodels",
    "yaml": "pyyaml",
}
"""Package by module, of modules that are surely not the user's own."""

MAX_CAUSES = 10
"""Errors of one failure that are looked at: a chain of causes may be a circle."""


def import_library(module: str, *, needed_by: Path | str, extra: str = "") -> Any:
    """Import the library of a model.

    Args:
        module: its name.
        needed_by: the model's file.
        extra: the extra that installs it; "" for the module's name.

    Raises:
        MissingExtraError: it is not installed; the message has the command that installs it.
        MissingModuleError: a module that it imports is not installed.
        ModelError: it is installed and cannot be imported.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name in (module, module.partition(".")[0]):
            raise MissingExtraError(f"the model {needed_by}", extra or module) from error
        if missing := missing_module(error):
            raise MissingModuleError(f"the model {needed_by} {need_text(missing)}") from error
        raise ModelError(f"cannot import {module}, which {needed_by} needs: {error}") from error
    except ImportError as error:
        raise ModelError(f"cannot import {module}, which {needed_by} needs: {error}") from error


def require_pandas(needed_by: Path | str) -> None:
    """Require pandas for a model that takes a DataFrame.

    Args:
        needed_by: the model's file, module or URL.

    Raises:
        MissingModuleError: it is not installed.
        ModelError: it is installed and cannot be imported.
    """
    try:
        import_module("pandas")
    except ImportError as error:
        if missing := missing_module(error):
            raise MissingModuleError(f"the model {needed_by} {need_text(missing)}") from error
        raise ModelError(f"cannot import pandas, which the model {needed_by} needs: {error}") from error


def missing_module(error: BaseException | None) -> str:
    """Return the top-level module that is not installed, according to an error of an import; "" if none is.

    Libraries raise the error of an import again as an error of their own, so its causes are looked at too.

    >>> missing_module(ModuleNotFoundError("No module named 'no_such'", name="no_such.part"))
    'no_such'
    >>> missing_module(ModuleNotFoundError("No module named 'json.no_such'", name="json.no_such"))
    ''
    """
    for _ in range(MAX_CAUSES):
        if not isinstance(error, ImportError):
            break
        if isinstance(error, ModuleNotFoundError) and error.name:
            module = error.name.partition(".")[0]
            return "" if _is_installed(module) else module
        error = error.__cause__
    return ""


def need_text(module: str) -> str:
    """Return that a module is needed and is not installed, and the command that installs it.

    Args:
        module: the top-level module.

    >>> need_text("pandas")
    'needs pandas, which is not installed: pip install pandas'
    >>> need_text("xgboost")
    "needs xgboost, which is not installed: pip install 'driftbell[xgboost]'"
    >>> need_text("shop")  # doctest: +ELLIPSIS
    "needs the module 'shop', which is not installed: pip install shop; or, if it is a module ..."
    """
    if module in EXTRAS:
        return f"needs {module}, which is not installed: pip install 'driftbell[{module}]'"
    if module in PACKAGES:
        return f"needs {module}, which is not installed: pip install {PACKAGES[module]}"
    package = module.replace("_", "-")
    return (
        f"needs the module '{module}', which is not installed: pip install {package}; or, if it is a module "
        f"of your own, put {module}.py beside the model or into the folder in which driftbell is started"
    )


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # a module without a specification, as some are that code creates
        return False
