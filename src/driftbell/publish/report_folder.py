"""Report folder: fixed file names, atomic writes, `latest` names, and rotation."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, unquote

from driftbell.atomic_write import PART_SUFFIX, write_atomically
from driftbell.errors import ReportError
from driftbell.publish.report_rotation import UNCHANGED, Rotation, StoredReport
from driftbell.records import Verdict

MAIN_REPORT = "drift_report"
"""File name prefix of the main report: Evidently's if it is installed, otherwise the HTML report."""

OWN_REPORT = "driftbell_report"
"""File name prefix of the HTML report if the main one is Evidently's."""

MAX_CLOCK_SKEW = timedelta(hours=1)
"""Reports with a time further in the future come from a wrong clock and do not delay the next name."""

SECOND = timedelta(seconds=1)

MAX_SIZE = 1024**3
MAX_MARK_BYTES = 600

_MARK_PATTERN = re.compile(
    rb"\n<!-- driftbell report: (requested|scheduled), importance ([0-2])"
    rb"(?:, verdict (ok|warning|alarm|unknown) of version ([!-~]*))? -->\n\Z"
)
"""Last line of a report; a file without one is not important, and its origin is in its name."""

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
        requested: whether its check was requested; else it was scheduled.
        importance: see `StoredReport`.
        verdict: verdict of its check; None if the file does not say it.
        version: version of the model that was checked; "" if the file does not say it.
    """

    name: str
    time: datetime
    manual: bool
    size: int
    requested: bool = False
    importance: int = UNCHANGED
    verdict: Verdict | None = None
    version: str = ""


class ReportFolder:
    """Folder of report files.

    Args:
        path: the folder; created with the first report.
        keep: see `Rotation`.
        max_size: see `Rotation`.
        days: number of whole days (UTC) that reports stay, besides today; None keeps them.
    """

    def __init__(self, path: Path, *, keep: int, max_size: int = MAX_SIZE, days: int | None = None) -> None:
        self.path = path
        self._rotation = Rotation(keep, max_size, timedelta(days=days + 1) if days is not None else None)

    def save(
        self,
        reports: Mapping[str, bytes],
        *,
        time: datetime,
        manual: bool,
        requested: bool | None = None,
        importance: int = UNCHANGED,
        verdict: Verdict | None = None,
        version: str = "",
        is_latest: bool = True,
    ) -> tuple[str, ...]:
        """Write the reports of one check and point the `latest` names to them.

        Args:
            reports: HTML by file name prefix, the main report first.
            time: when the check ran; the next free second is used for the name.
            manual: see `ReportFile`.
            requested: whether the check was requested; None if `manual` says so.
            importance: see `StoredReport`.
            verdict: verdict of the check, if the list of reports shows it.
            version: version of the model that was checked.
            is_latest: whether the `latest` names point to them; else they stay as they are.

        Returns:
            The file names, in the order of `reports`.

        Raises:
            ReportError: the folder cannot be written to.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            moment = self._moment(time.astimezone(UTC))
            names = tuple(_name(prefix, moment, manual) for prefix in reports)
            mark = _mark_line(
                manual, manual if requested is None else requested, importance, verdict, version
            )
            for name, content in zip(names, reports.values(), strict=True):
                write_atomically(self.path / name, content + mark)
            for name, prefix in zip(names, reports if is_latest else (), strict=is_latest):
                self._link_latest(f"{prefix}_latest.html", name)
            self._rotate(names)
        except OSError as error:
            raise ReportError(f"cannot write the report to {self.path}: {error.strerror}") from error
        return names

    def files(self, limit: int | None = None) -> list[ReportFile]:
        """Return the reports, newest first, without the `latest` names.

        Args:
            limit: the most reports to return; the sizes of the others are not read.
        """
        reports = []
        for name in _names_in(self.path):
            match = _NAME.fullmatch(name)
            time = _time(match[3]) if match else None
            if match and time:
                reports.append((time, name, bool(match[2])))
        newest = sorted(reports, reverse=True)[:limit]
        return [_with_mark(self.path, ReportFile(name, time, manual, 0)) for time, name, manual in newest]

    def open(self, name: str) -> Path | None:
        """Return the path of a report by its file name; None if there is no such report."""
        path = self.path / name
        valid = _NAME.fullmatch(name) or _LATEST.fullmatch(name)
        return path if valid and path.is_file() and not path.is_symlink() else None

    def _moment(self, time: datetime) -> datetime:
        """Return the first second after all existing reports, so that names sort in the order of writing."""
        second = time.replace(microsecond=0)
        times = [time for time in map(_time_in, _names_in(self.path)) if time]
        return max([second, *(t + SECOND for t in times if t < second + MAX_CLOCK_SKEW)])

    def _link_latest(self, latest: str, name: str) -> None:
        part = self.path / f".{latest}{PART_SUFFIX}"
        part.unlink(missing_ok=True)
        try:
            os.link(self.path / name, part)
        except OSError:  # a file system without hard links
            write_atomically(self.path / latest, (self.path / name).read_bytes())
        else:
            part.replace(self.path / latest)

    def _rotate(self, written: tuple[str, ...]) -> None:
        files = self.files()
        names = {f.name for f in files}
        stored = []
        for file in files:
            beside_own = file.name.replace(MAIN_REPORT, OWN_REPORT, 1) in names - {file.name}
            mark = file.requested, file.importance
            stored.append(StoredReport(file.name, file.time, file.size, *mark, is_evidently=beside_own))
        for name in self._rotation.expired(stored, written):
            (self.path / name).unlink(missing_ok=True)
        for name in _names_in(self.path):
            if name.startswith(".") and name.endswith(PART_SUFFIX):
                (self.path / name).unlink(missing_ok=True)


def _mark_line(
    manual: bool, requested: bool, importance: int, verdict: Verdict | None, version: str
) -> bytes:
    if requested is manual and importance == UNCHANGED and verdict is None:
        return b""
    text = f"{'requested' if requested else 'scheduled'}, importance {importance}"
    if verdict:
        text += (
            f", verdict {verdict.value} of version {quote(version)}"  # no `>`, which could end the comment
        )
    return f"\n<!-- driftbell report: {text} -->\n".encode()


def _with_mark(folder: Path, file: ReportFile) -> ReportFile:
    """Return a report with its size and the facts of its last line."""
    try:
        with (folder / file.name).open("rb") as report:
            size = report.seek(0, os.SEEK_END)
            report.seek(max(0, size - MAX_MARK_BYTES))
            match = _MARK_PATTERN.search(report.read(MAX_MARK_BYTES))
    except OSError:  # pruned by the monitor in the meantime, or not readable: as if it was not important
        return replace(file, size=_size(folder / file.name), requested=file.manual)
    if match is None:
        return replace(file, size=size, requested=file.manual)
    return replace(
        file,
        size=size,
        requested=match[1] == b"requested",
        importance=int(match[2]),
        verdict=Verdict(match[3].decode()) if match[3] else None,
        version=unquote(match[4] or b""),
    )


def own_first(names: Iterable[str]) -> list[str]:
    """Return the names of a check's reports with the own report first.

    >>> own_first(["drift_report_20260131_120000.html", "driftbell_report_20260131_120000.html"])
    ['driftbell_report_20260131_120000.html', 'drift_report_20260131_120000.html']
    """
    return sorted(names, key=lambda name: not name.startswith(OWN_REPORT))


def _time_in(name: str) -> datetime | None:
    match = _NAME.fullmatch(name)
    return _time(match[3]) if match else None


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
