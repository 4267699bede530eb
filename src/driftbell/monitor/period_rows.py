"""Rows of a period of the prediction log, each exactly once: those in the store and those in the archive."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from driftbell.errors import ConfigError
from driftbell.monitor.archive_files import ArchiveFiles
from driftbell.monitor.archive_rows import read_rows
from driftbell.phrases import count_of
from driftbell.ports import Model, Store
from driftbell.records import Archive, LoggedRows

PAGE_CELLS, MAX_PAGE_ROWS, MIN_PAGE_ROWS = 500_000, 20_000, 200
"""Cells and rows that are read at a time."""


def page_rows(features: int) -> int:
    """Return the number of rows of a page, for a number of features.

    >>> page_rows(4), page_rows(1000)
    (20000, 500)
    """
    return max(MIN_PAGE_ROWS, min(MAX_PAGE_ROWS, PAGE_CELLS // max(features, 1)))


@dataclass(slots=True)
class PeriodRows:
    """Rows of one model version in a period.

    A row that retention moves is in the store or in a complete file of the archive: one snapshot of the store
    says for each which of both counts.

    Attributes:
        store: the prediction log.
        model: the model version.
        files: the archive; None if there is none.
        start: start of the period.
        end: its end, which does not belong to it.
        after: only predictions with a larger number: those before are logged in another form.
        archived: number of rows that were read from the archive.
        deleted: number of predictions of the days of the period that retention has deleted.
        other_form: whether there are predictions up to the number `after`.
    """

    store: Store
    model: Model
    files: ArchiveFiles | None
    start: datetime
    end: datetime
    after: int = 0
    archived: int = field(default=0, init=False)
    deleted: int = field(default=0, init=False)
    other_form: bool = field(default=False, init=False)

    def parts(self) -> Iterator[LoggedRows]:
        """Yield all rows in parts.

        Raises:
            StoreError: the store cannot be read.
            ArchiveError: a file of the archive cannot be read.
            ConfigError: predictions are in the archive, and none is configured.
        """
        served = {"model": self.model.name, "version": self.model.version}
        with self.store.snapshot():
            archives = self.store.rows.archived(self.start, self.end, **served)
            files = self._files(archives)
            if self.after:
                first = self.store.predictions.first_since(self.start, **served)
                self.other_form |= first is not None and first <= self.after
            yield from self.store.rows.between(
                self.start,
                self.end,
                page_rows(len(self.model.schema.names)),
                **served,
                after=self.after,
                archived=archives,
            )
        for archive in files:
            rows = self._read(archive)
            self.archived += len(rows)
            yield rows

    def _files(self, archives: Sequence[Archive]) -> list[Archive]:
        """Return the archives in files; count the others."""
        known = [a for a in archives if a.first > self.after]
        self.other_form |= len(known) < len(archives)
        files = [archive for archive in known if archive.file]
        self.deleted = sum(archive.rows for archive in known if not archive.file)
        if files and self.files is None:
            rows = count_of(sum(archive.rows for archive in files), "prediction")
            raise ConfigError(
                f"{rows} of the days from {files[0].day} to {files[-1].day} are in the archive, but "
                "retention.archive is not set: set it to the folder of the archive"
            )
        return files

    def _read(self, archive: Archive) -> LoggedRows:
        assert self.files is not None
        content = self.files.get(archive.file)
        model = self.model
        return read_rows(content, archive.file, model.schema.names, model.classes, self.start, self.end)
