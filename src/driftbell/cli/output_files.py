"""Files that a command writes: none of the tables that it reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from driftbell.atomic_write import write_output
from driftbell.errors import ConfigError
from driftbell.phrases import printable

if TYPE_CHECKING:
    from driftbell.wiring.table_check import TableCheck

DATABASE = "sqlite:///"


def refuse_tables(outputs: Mapping[str, str | None], tables: Iterable[str]) -> None:
    """Refuse an output that cannot be written, or would replace a table or another output.

    Args:
        outputs: file of each option, of --markdown also "-" for the standard output; None writes none.
        tables: files, folders, patterns or databases that are read.

    Raises:
        ConfigError: an output would replace one of them, or is no file of a folder.
    """
    named: dict[Path, str] = {}
    for option, output in outputs.items():
        if output is None or (output == "-" and option == "--markdown"):
            continue
        if output == "-":
            raise ConfigError(f"{option}: '-' is no file: name one")
        path = Path(output).resolve()
        if not path.parent.is_dir():
            raise ConfigError(f"{option}: cannot write {output}: there is no folder {path.parent}")
        if path in named and path.parts[1:2] != ("dev",):
            raise ConfigError(f"{option}: {printable(output)} is the file of {named[path]}: name another one")
        named[path] = option
        for table in tables:
            if reason := _read_as(path, table):
                raise ConfigError(f"{option}: {printable(output)} is {reason}: name another file")


def write_file(option: str, target: str, content: bytes) -> None:
    """Write the file that an option names.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        write_output(Path(target), content)
    except OSError as error:
        raise ConfigError(f"{option}: cannot write {target}: {error.strerror}") from error


def write_documents(
    result: TableCheck, *, html: str | None, markdown: str | None, junit: str | None, fail_on: str
) -> None:
    """Write the documents that the options name.

    Raises:
        ConfigError: a file cannot be written.
    """
    if html:
        write_file("--html", html, result.to_html().encode())
    if markdown and markdown != "-":
        write_file("--markdown", markdown, result.to_markdown().encode())
    if junit:
        from driftbell.publish.table_documents import table_junit

        page = table_junit(
            result.judgement,
            time=result.time,
            fails=fail_on != "never",
            drift_fails=fail_on == "drift",
            measured=result.performance is not None,
        )
        write_file("--junit", junit, page)


def _read_as(path: Path, table: str) -> str:
    """Return what a file is of a table, "" for nothing."""
    from driftbell.tabular.files import is_hidden, list_files

    if "://" in table.removeprefix(DATABASE):
        return ""
    source = Path(table.removeprefix(DATABASE))
    folder = source.resolve()
    if source.is_dir() and path.is_relative_to(folder) and not is_hidden(path.relative_to(folder)):
        return f"in the folder {printable(table)}, of which every file is read"
    if not path.is_file() or not any(file.exists() and path.samefile(file) for file in list_files(source)):
        return ""
    return "the table itself" if path == folder else f"read as {printable(table)}"
