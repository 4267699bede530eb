"""Report folder: fixed file names, atomic writes, `latest` names, and removal of the oldest reports."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from driftbell.atomic_write import PART_SUFFIX, write_atomically
from driftbell.errors import ReportError

MAIN_REPORT = "drift_report"
"""File name prefix of the main report: Evidently's if it is installed, otherwise the HTML report."""

OWN_REPORT = "driftbell_report"
"""File name prefix of the HTML report if the main one is Evidently's."""

MAX_CLOCK_SKEW = timedelta(hours=1)
"""Reports with a time further in the future come from a wrong clock and do not delay the next name."""

SECOND = timedelta(seconds=1)

_STAMP = "%Y%m%d_%H%M%S"
_NAME = re.compile(rf"({MAIN_REPORT}|{OWN_REPORT})_(manual_)?(\d{{8}}_\d{{6}})\.html")
_LATEST = re.compile(rf"({MAIN_REPORT}|{OWN_REPORT})_latest\.html")


@dataclass(frozen=True, slots=True)
class ReportFile:
    """One report on disk.

    Attributes:
        name: its file name.
        time: when the check ran (UTC).
        manual: whether it was requested by `POST /monitor/generate_report`.
        size: size in bytes.
    """

    name: str
    time: datetime
    manual: bool
    size: int


class ReportFolder:
    """Folder of report files.

    Args:
        path: the folder; created with the first report.
        keep: number of checks with reports on disk.
    """

    def __init__(self, path: Path, *, keep: int) -> None:
        self.path = path
        self._keep = keep

    def save(self, reports: Mapping[str, bytes], *, time: datetime, manual: bool) -> tuple[str, ...]:
        """Write the reports of one check and point the `latest` names to them.

        Args:
            reports: HTML by file name prefix, the main report first.
            time: when the check ran; the next free second is used for the name.
            manual: see `ReportFile`.

        Returns:
            The file names, in the order of `reports`.

        Raises:
            ReportError: the folder cannot be written to.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            moment = self._moment(time.astimezone(UTC))
            names = tuple(_name(prefix, moment, manual) for prefix in reports)
            for name, content in zip(names, reports.values(), strict=True):
                write_atomically(self.path / name, content)
            for name, prefix in zip(names, reports, strict=True):
                self._link_latest(f"{prefix}_latest.html", name)
            self._prune(written=(moment, manual))
        except OSError as error:
            raise ReportError(f"cannot write the report to {self.path}: {error.strerror}") from error
        return names

    def files(self) -> list[ReportFile]:
        """Return the reports, newest first, without the `latest` names."""
        reports = []
        for name in _names_in(self.path):
            match = _NAME.fullmatch(name)
            time = _time(match[3]) if match else None
            if match and time:
                reports.append(ReportFile(name, time, bool(match[2]), _size(self.path / name)))
        return sorted(reports, key=lambda f: (f.time, f.name), reverse=True)

    def open(self, name: str) -> Path | None:
        """Return the path of a report by its file name; None if there is no such report."""
        path = self.path / name
        valid = _NAME.fullmatch(name) or _LATEST.fullmatch(name)
        return path if valid and path.is_file() and not path.is_symlink() else None

    def _moment(self, time: datetime) -> datetime:
        """Return the first second after all existing reports, so that names sort in the order of writing."""
        second = time.replace(microsecond=0)
        return max([second, *(f.time + SECOND for f in self.files() if f.time < second + MAX_CLOCK_SKEW)])

    def _link_latest(self, latest: str, name: str) -> None:
        part = self.path / f".{latest}{PART_SUFFIX}"
        part.unlink(missing_ok=True)
        try:
            os.link(self.path / name, part)
        except OSError:  # a file system without hard links
            write_atomically(self.path / latest, (self.path / name).read_bytes())
        else:
            part.replace(self.path / latest)

    def _prune(self, written: tuple[datetime, bool]) -> None:
        checks = sorted({(f.time, f.manual) for f in self.files()} - {written}, reverse=True)
        expired = set(checks[self._keep - 1 :])
        for file in self.files():
            if (file.time, file.manual) in expired:
                (self.path / file.name).unlink(missing_ok=True)
        for name in _names_in(self.path):
            if name.startswith(".") and name.endswith(PART_SUFFIX):
                (self.path / name).unlink(missing_ok=True)


def _name(prefix: str, time: datetime, manual: bool) -> str:
    return f"{prefix}_{'manual_' if manual else ''}{time.strftime(_STAMP)}.html"


def _time(stamp: str) -> datetime | None:
    try:
        return datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)
    except ValueError:  # the digits are no date: not one of our files
        return None


def _names_in(path: Path) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:  # the folder does not exist yet or is unreadable
        return []


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # pruned by the monitor in the meantime
        return 0
