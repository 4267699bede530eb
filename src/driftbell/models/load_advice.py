"""Advice on pickled models that cannot be loaded: missing modules, scripts, other versions of libraries."""

from __future__ import annotations

import re

SCRIPT = re.compile(r"[Cc]an't get attribute '([^']+)' on <module '(?:__main__|__mp_main__)'")
LIBRARY = re.compile(r"[Cc]an't get attribute '([^']+)' on <module '((?:sklearn|numpy|scipy)\b[^']*)'")
SAVED_VERSION = re.compile(rb"_sklearn_version[^0-9]{1,12}?(\d+\.\d+(?:\.\w+)*)")


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
        package = error.name.partition(".")[0]
        return (
            f"install the package of '{package}', or put {package}.py beside the model or into the folder in "
            "which driftbell is started"
        )
    return _version_advice(error, content)


def _version_advice(error: Exception, content: bytes) -> str:
    import sklearn

    saved = SAVED_VERSION.search(content)
    version = saved[1].decode() if saved else ""
    if version and version != sklearn.__version__:
        return (
            f"the model was saved by scikit-learn {version}, and this is {sklearn.__version__}: "
            f"pip install 'scikit-learn=={version}', or save the model again with {sklearn.__version__}"
        )
    if LIBRARY.search(str(error)) or isinstance(error, ModuleNotFoundError):
        return (
            f"the model was probably saved by another version of scikit-learn than {sklearn.__version__}: "
            "install that one, or save the model again"
        )
    return ""


def _is_library(module: str) -> bool:
    return module.partition(".")[0] in ("sklearn", "numpy", "scipy")
