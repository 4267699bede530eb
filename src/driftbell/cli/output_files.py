"""Files that a command writes: none of the tables that it reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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
        if not path.is_file():
            continue
        for table in tables:
            if any(path.samefile(file) for file in _files(table)):
                of = "the table itself" if table == output else f"read as {printable(table)}"
                raise ConfigError(f"{option}: {printable(output)} is {of}: name another file")


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


def _files(table: str) -> Iterator[Path]:
    """Yield the files of a table."""
    source = Path(table.removeprefix(DATABASE))
    if source.is_file():
        yield source
    elif source.is_dir():
        yield from (p for p in source.rglob("*") if p.is_file())
    elif "*" in table or "?" in table or "[" in table:
        folder = Path(source.anchor)
        yield from (p for p in folder.glob(str(source.relative_to(source.anchor))) if p.is_file())
