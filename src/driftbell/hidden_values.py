"""Return whether messages of this process may have values of features: not if `columns.log` masks one.

Libraries and models write values into messages of errors, warnings and log lines, and nobody can tell
which column they are of.
"""

from __future__ import annotations


class _Process:
    hides_values = False


def hide_values(hide: bool = True) -> None:
    """Leave messages of other people's code out of log lines, pages and errors from now on."""
    _Process.hides_values = hide


def values_are_hidden() -> bool:
    """Return whether messages of other people's code are left out."""
    return _Process.hides_values
