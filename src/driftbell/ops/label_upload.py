"""Read labels from a file and upload them to a service."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from driftbell.config.sources import GIVE_KEY, START_OR_NAME
from driftbell.errors import ConfigError, InputError
from driftbell.phrases import count_of, join_names
from driftbell.retries import with_backoff
from driftbell.tabular.cells import plain_cells
from driftbell.tabular.class_names import is_empty_label
from driftbell.tabular.file_options import FileOptions
from driftbell.tabular.files import read_bytes, read_file
from driftbell.tabular.text_files import read_rows

COLUMNS = ("prediction_id", "label")
MAX_BATCH = 2000
"""Labels per request; halved when the service answers 413 because of a small `server.body_limit`."""

TIMEOUT_SECONDS = 60.0
NAME_URL = "name the address of the service with --url"


@dataclass(frozen=True, slots=True)
class LabelLine:
    """One label of a file.

    Attributes:
        place: file and position, such as `labels.csv line 3`.
        prediction_id: id of the prediction.
        label: name or number of the class.
    """

    place: str
    prediction_id: str
    label: str | int | float | bool


@dataclass(frozen=True, slots=True)
class LabelFile:
    """The labels of a file.

    Attributes:
        lines: those that are not empty.
        empty: number of rows without a label, which are skipped.
    """

    lines: tuple[LabelLine, ...]
    empty: int = 0


@dataclass(frozen=True, slots=True)
class UploadResult:
    """Totals of an upload.

    Attributes:
        accepted: first labels of their predictions.
        corrected: labels that replaced another one.
        duplicates: labels that were already stored.
        unknown: ids without a prediction, as far as the service lists them.
        unknown_count: number of unknown ids.
        empty: empty labels, which were skipped.
        unseen: labels that are no class of the model and count as wrong answers, as far as the service lists
            them, each with its number.
    """

    accepted: int = 0
    corrected: int = 0
    duplicates: int = 0
    unknown: tuple[str, ...] = ()
    unknown_count: int = 0
    empty: int = 0
    unseen: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: UploadResult) -> UploadResult:
        """Return the sum of both totals."""
        return UploadResult(
            self.accepted + other.accepted,
            self.corrected + other.corrected,
            self.duplicates + other.duplicates,
            self.unknown + other.unknown,
            self.unknown_count + other.unknown_count,
            self.empty + other.empty,
            dict(Counter(self.unseen) + Counter(other.unseen)),
        )

    @property
    def total(self) -> int:
        """Number of labels with a prediction."""
        return self.accepted + self.corrected + self.duplicates


def read_labels(path: Path) -> LabelFile:
    """Read labels from a .csv, .parquet or .jsonl file; other columns are ignored, empty labels are skipped.

    Args:
        path: a file with the columns `prediction_id` and `label`.

    Raises:
        ConfigError: the file cannot be read, lacks a column, has no label, or a cell is of a wrong type, or a
            label has no id.
    """
    readers: dict[str, Callable[[Path], Iterator[tuple[str, dict[str, Any]]]]] = {
        ".csv": _csv,
        ".jsonl": _jsonl,
        ".parquet": _parquet,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ConfigError(f"cannot read {path}: the name must end in .csv, .parquet or .jsonl")
    lines, empty = [], 0
    try:
        for place, cells in reader(path):
            if is_empty_label(cells.get("label")):
                empty += 1
            else:
                lines.append(_line(path, place, cells))
    except (OSError, UnicodeDecodeError, InputError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    if not lines:
        raise ConfigError(f"{path} has no labels" + (": every cell is empty" if empty else ""))
    return LabelFile(tuple(lines), empty)


def send_labels(
    url: str,
    file: LabelFile,
    *,
    accept_unseen: bool = False,
    headers: Mapping[str, str] | None = None,
    client: httpx.Client | None = None,
) -> UploadResult:
    """Send labels to `POST {url}/labels`; sending them again is safe.

    Args:
        url: URL of the service.
        file: the labels.
        accept_unseen: send the labels even if none of them is a class of the model.
        headers: additional request headers, such as an API key.
        client: HTTP client; by default a new one is opened and closed.

    Raises:
        ConfigError: the service cannot be reached, or rejected a label; the message names its place
            in the file and the number of labels accepted before it.
    """
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"the URL must begin with http:// or https://, got '{url}'")
    done, rest, size = UploadResult(empty=file.empty), list(file.lines), MAX_BATCH
    http = client or httpx.Client(timeout=TIMEOUT_SECONDS)
    try:
        while rest:
            part = rest[:size]
            answer = _post(http, url, part, accept_unseen=accept_unseen, headers=headers)
            if answer.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE and size > 1:
                size = max(1, len(part) // 2)
                continue
            if not answer.is_success:
                raise ConfigError(_refusal(url, answer, part) + _accepted(done))
            receipt = _receipt(url, answer)
            done += receipt
            # labels beside them are classes, so that a later part without any is no typo
            accept_unseen = accept_unseen or sum(receipt.unseen.values()) < len(part)
            rest = rest[size:]
    finally:
        if client is None:
            http.close()
    return done


class _UnavailableError(Exception):
    """The service answered 503."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__(answer.reason_phrase)
        self.answer = answer


_with_retries = with_backoff(_UnavailableError, attempts=5, first_wait=0.5)


def _post(
    http: httpx.Client,
    url: str,
    part: Sequence[LabelLine],
    *,
    accept_unseen: bool,
    headers: Mapping[str, str] | None,
) -> httpx.Response:
    """Send one request, and retry with exponential backoff while the service answers 503."""
    query = "?accept_unseen=true" if accept_unseen else ""
    body = {"labels": [{"prediction_id": line.prediction_id, "label": line.label} for line in part]}

    def attempt() -> httpx.Response:
        answer = http.post(f"{url.rstrip('/')}/labels{query}", json=body, headers=headers)
        if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            raise _UnavailableError(answer)
        return answer

    try:
        return _with_retries(attempt)
    except _UnavailableError as error:
        return error.answer
    except (httpx.RequestError, httpx.InvalidURL) as error:
        raise ConfigError(f"cannot reach {url}: {START_OR_NAME} ({error or type(error).__name__})") from error


def _receipt(url: str, answer: httpx.Response) -> UploadResult:
    try:
        totals = answer.json()
        return UploadResult(
            **{name: int(totals[name]) for name in ("accepted", "corrected", "duplicates", "unknown_count")},
            unknown=tuple(map(str, totals["unknown"])),
            unseen={str(name): int(count) for name, count in totals["unseen"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{url} is not a driftbell service with labels: {NAME_URL}") from error


def _refusal(url: str, answer: httpx.Response, part: Sequence[LabelLine]) -> str:
    try:
        body = answer.json()
        errors = [e for e in body.get("errors", ()) if "row" in e]
        if errors:
            more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
            return f"{part[errors[0]['row']].place}: {errors[0]['message']}{more}"
        detail = str(body["detail"]).replace("with ?accept_unseen=true", "with --accept-unseen")
        cure = {401: GIVE_KEY, 403: GIVE_KEY, 404: NAME_URL, 405: NAME_URL}.get(answer.status_code)
        return f"the service answered {answer.status_code}: {detail}{f'; {cure}' if cure else ''}"
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):  # perhaps the error page of a proxy
        return f"{url} answered {answer.status_code} {answer.reason_phrase}; {NAME_URL}"


def _accepted(done: UploadResult) -> str:
    labels, are = count_of(done.total, "label"), "was" if done.total == 1 else "were"
    return f"; {labels} before it {are} accepted; sending them again is safe" if done.total else ""


def _csv(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    header, rows = read_rows(read_bytes(path), str(path), FileOptions(header=True))
    _must_have(path, header)
    for line, row in rows:
        yield f"line {line}", {name: _cell(row[header.index(name)]) for name in COLUMNS}


def _cell(text: str) -> str | int:
    """Convert an integer without leading zeros, which may be a class id; `007` stays a name."""
    return int(text) if re.fullmatch(r"0|-?[1-9][0-9]{0,17}", text) else text


def _jsonl(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig") as file:
        for number, text in enumerate(file, 1):
            if text.strip():
                try:
                    row = json.loads(text)
                except (ValueError, RecursionError) as error:
                    raise ConfigError(f"{path} line {number} is not valid JSON: {error}") from error
                if not isinstance(row, dict):
                    raise ConfigError(f"{path} line {number} must be an object with {_quoted(COLUMNS)}")
                yield f"line {number}", row


def _parquet(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    table = read_file(path).columns
    _must_have(path, list(table))
    cells = zip(*(plain_cells(table[name]) for name in COLUMNS), strict=True)
    for number, row in enumerate(cells, 1):
        yield f"row {number}", dict(zip(COLUMNS, row, strict=True))


def _must_have(path: Path, columns: Sequence[str]) -> None:
    for name in COLUMNS:
        if list(columns).count(name) != 1:
            actual = f"it has {_quoted(columns)}" if columns else "it is empty"
            raise ConfigError(f"{path} must have one column '{name}': {actual}")


def _line(path: Path, place: str, cells: dict[str, Any]) -> LabelLine:
    values = {}
    for name in COLUMNS:
        value = cells.get(name)
        if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
            raise ConfigError(f"{path} {place}: '{name}' is empty")
        if not isinstance(value, str | int | float) or not _can_be_sent(value):
            raise ConfigError(f"{path} {place}: '{name}' must be a text or a number")
        whole = isinstance(value, float) and value.is_integer()  # integers of Parquet are read as floats
        values[name] = int(value) if whole else value
    return LabelLine(f"{path} {place}", str(values["prediction_id"]), values["label"])


def _can_be_sent(value: str | float) -> bool:
    if isinstance(value, str):
        return not any("\ud800" <= c <= "\udfff" for c in value)  # a surrogate, which UTF-8 cannot encode
    return math.isfinite(value)


def _quoted(names: Iterable[str]) -> str:
    return join_names(f"'{name}'" for name in names)
