"""The folder of the reports: names of the contract, files whole or not at all, the oldest removed."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from driftbell.errors import ReportError

MAIN_REPORT = "drift_report"
"""Prefix of the contract's report: Evidently's where it is installed, else driftbell's own."""

OWN_REPORT = "driftbell_report"
"""Prefix of driftbell's own report where the main one is Evidently's."""

AHEAD = timedelta(hours=1)
"""Names this far in the future are another clock's, and not what the next name follows."""

SECOND = timedelta(seconds=1)

_STAMP = "%Y%m%d_%H%M%S"
_NAME = re.compile(rf"({MAIN_REPORT}|{OWN_REPORT})_(manual_)?(\d{{8}}_\d{{6}})\.html")
_LATEST = re.compile(rf"({MAIN_REPORT}|{OWN_REPORT})_latest\.html")
_PART = ".part"


@dataclass(frozen=True, slots=True)
class ReportFile:
    """One report on disk.

    Attributes:
        name: its file name.
        time: when the check ran (UTC).
        manual: whether somebody asked for it by `/monitor/generate_report`.
        size: bytes.
    """

    name: str
    time: datetime
    manual: bool
    size: int


class ReportFolder:
    """Writes and lists reports.

    Args:
        path: the folder; made when the first report is written.
        keep: how many checks' reports stay.
    """

    def __init__(self, path: Path, *, keep: int) -> None:
        self.path = path
        self._keep = keep

    def save(self, reports: Mapping[str, bytes], *, time: datetime, manual: bool) -> tuple[str, ...]:
        """Write the reports of one check and make them the latest.

        Args:
            reports: HTML by prefix, the main one first.
            time: when the check ran; where its second is taken, the next free one is used.
            manual: see `ReportFile`.

        Returns:
            The file names, in the order given.

        Raises:
            ReportError: the folder cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            moment = self._moment(time.astimezone(UTC))
            names = tuple(_name(prefix, moment, manual) for prefix in reports)
            for name, content in zip(names, reports.values(), strict=True):
                self._write(name, content)
            for name, prefix in zip(names, reports, strict=True):
                self._point(f"{prefix}_latest.html", name)
            self._prune(written=(moment, manual))
        except OSError as error:
            raise ReportError(f"cannot write the report to {self.path}: {error.strerror}") from error
        return names

    def files(self) -> list[ReportFile]:
        """List the reports, newest first; the `latest` names are not among them."""
        found = []
        for name in _names_in(self.path):
            match = _NAME.fullmatch(name)
            time = _time(match[3]) if match else None
            if match and time:
                found.append(ReportFile(name, time, bool(match[2]), _size(self.path / name)))
        return sorted(found, key=lambda f: (f.time, f.name), reverse=True)

    def open(self, name: str) -> Path | None:
        """Find a report by its file name; None for anything that is not one."""
        path = self.path / name
        known = _NAME.fullmatch(name) or _LATEST.fullmatch(name)
        return path if known and path.is_file() and not path.is_symlink() else None

    def _moment(self, time: datetime) -> datetime:
        """Give a second that is later than that of every report so far, so that names sort as written."""
        second = time.replace(microsecond=0)
        return max([second, *(f.time + SECOND for f in self.files() if f.time < second + AHEAD)])

    def _write(self, name: str, content: bytes) -> None:
        part = self.path / f".{name}{_PART}"
        try:
            part.write_bytes(content)
            part.replace(self.path / name)
        except OSError:
            part.unlink(missing_ok=True)
            raise

    def _point(self, latest: str, name: str) -> None:
        part = self.path / f".{latest}{_PART}"
        part.unlink(missing_ok=True)
        try:
            os.link(self.path / name, part)
        except OSError:  # a file system without hard links
            part.write_bytes((self.path / name).read_bytes())
        part.replace(self.path / latest)

    def _prune(self, written: tuple[datetime, bool]) -> None:
        checks = sorted({(f.time, f.manual) for f in self.files()} - {written}, reverse=True)
        gone = set(checks[self._keep - 1 :])
        for file in self.files():
            if (file.time, file.manual) in gone:
                (self.path / file.name).unlink(missing_ok=True)
        for name in _names_in(self.path):
            if name.startswith(".") and name.endswith(_PART):
                (self.path / name).unlink(missing_ok=True)


def _name(prefix: str, time: datetime, manual: bool) -> str:
    return f"{prefix}_{'manual_' if manual else ''}{time.strftime(_STAMP)}.html"


def _time(stamp: str) -> datetime | None:
    try:
        return datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)
    except ValueError:  # digits, but no date: not a name of ours
        return None


def _names_in(path: Path) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:  # no folder yet, or none that can be read
        return []


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # pruned by the monitor in the meantime
        return 0
