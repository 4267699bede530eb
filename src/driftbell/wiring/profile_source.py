"""Recognize a reference that is a profile, without loading the modules of profiles for a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from driftbell.tabular.json_files import HEAD_BYTES, is_profile
from driftbell.tabular.raw_table import is_path

if TYPE_CHECKING:
    from driftbell.wiring.table_profile import TableProfile

MODULE = "driftbell.wiring.table_profile"


def as_profile(reference: Any) -> TableProfile | None:
    """Return a profile, or the profile in a file; None for a table.

    Raises:
        ConfigError: the file is a profile that cannot be read.
    """
    if not is_path(reference):
        profile: TableProfile | None = reference if type(reference).__module__ == MODULE else None
        return profile
    try:
        if not Path(reference).is_file():  # a pipe can be read only once, by the reader of tables
            return None
        with Path(reference).open("rb") as file:
            head = file.read(HEAD_BYTES)
    except (OSError, ValueError):  # the reader of tables has the error; it may be a folder or a pattern
        return None
    if not is_profile(head):
        return None
    from driftbell.wiring.table_profile import TableProfile

    return TableProfile.load(reference)
