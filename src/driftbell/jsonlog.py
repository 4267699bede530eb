"""Log lines: JSON on stdout with time, level, event, request id, or sentences; never a feature value."""

from __future__ import annotations

import atexit
import io
import logging
import re
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import nullcontext, suppress
from types import TracebackType
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor

from driftbell.errors import DriftbellError
from driftbell.hidden_values import values_are_hidden
from driftbell.process.log_stream import LogStream


class _Process:
    is_on_stdout = False


_FIRST_FIELDS = ("time", "level", "event", "request_id", "trace_id", "span_id")


def configure(stream: TextIO | None = None, *, level: str = "INFO", plain: bool = False) -> None:
    """Send every log line of this process, libraries' included, to one stream as JSON.

    Uncaught errors of threads become log lines too.

    Args:
        stream: None is stdout, written by a thread so that a stalled reader blocks nobody, see `LogStream`.
        level: lines below it are dropped.
        plain: write sentences for a person instead of JSON, as `plain_line` does.
    """
    _Process.is_on_stdout = stream is None
    output: TextIO | LogStream = stream or sys.stdout
    if stream is None:
        with suppress(io.UnsupportedOperation):  # stdout is no file, as in a test
            output = LogStream(sys.stdout.fileno())
            atexit.register(output.drain)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        _describe_error,
        _order_fields,
    ]
    structlog.configure(
        processors=[*shared[:-1], structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_hide_message, *shared[:-1]],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _order_fields,
                plain_line if plain else structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for noisy in ("alembic", "httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    threading.excepthook = _log_thread_error
    sys.unraisablehook = _log_unraisable
    sys.excepthook = _log_uncaught


def is_on_stdout() -> bool:
    """Return whether log lines of this process are JSON on stdout, as those of the services are."""
    return _Process.is_on_stdout


def on_drop(listener: Callable[[int], None]) -> None:
    """Call a function with the number of log lines that are dropped because their reader has stalled."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and isinstance(handler.stream, LogStream):
            handler.stream.on_drop = listener


def drain() -> None:
    """Wait, for a second at most, until the lines are written: no exit handler of a worker runs."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and isinstance(handler.stream, LogStream):
            handler.stream.drain()


def write(lines: str) -> None:
    """Write lines that are JSON already, each with its line break, to the configured stream.

    They are not parsed, and take a tenth of the time of a structlog event.
    """
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            with (
                handler.lock or nullcontext(),
                suppress(OSError, ValueError),
            ):  # as logging does
                handler.stream.write(lines)
                handler.stream.flush()


def _log_thread_error(failure: threading.ExceptHookArgs) -> None:
    if failure.exc_value is not None and not isinstance(failure.exc_value, SystemExit):
        name = failure.thread.name if failure.thread else "unknown"
        structlog.get_logger().error("thread ended", thread=name, exc_info=failure.exc_value)


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not isinstance(error, Exception):  # such as Ctrl-C
        sys.__excepthook__(kind, error, trace)
        return
    structlog.get_logger().error("process ended", exc_info=error)


def _log_unraisable(failure: sys.UnraisableHookArgs) -> None:
    structlog.get_logger().error(
        "error in a destructor", object=type(failure.object).__name__, exc_info=failure.exc_value
    )


def _hide_message(_: Any, __: str, event: EventDict) -> EventDict:
    """Leave out what a message of another library may have of a feature: asyncio writes arguments and errors.

    Of warnings, the place and the type are left, and of lines of other loggers than the server's the place.
    """
    record: logging.LogRecord = event["_record"]
    first, library = str(event["event"]).partition("\n")[0], record.name.partition(".")[0]
    if library == "asyncio":
        event["event"] = first.partition("(")[0].partition("<")[0].strip()
    elif values_are_hidden():
        if library == "uvicorn":
            event["event"] = first
        elif record.name == "py.warnings":
            place = re.match(r".+:\d+: \w+(?=:)", first)  # libraries may change the format of warnings
            event["event"] = place[0] if place else "a library warned, with a message that columns.log hides"
        else:
            event["event"] = f"{record.name} logged a message, which columns.log hides"
            event["where"] = [f"{record.pathname}:{record.lineno} {record.funcName}"]
    return event


def _describe_error(_: Any, __: str, event: EventDict) -> EventDict:
    """Replace an exception by its type and frames; messages of other libraries may contain feature values."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event["error_type"] = type(error).__name__
        if isinstance(error, DriftbellError):
            event.setdefault("error", str(error))
        event["where"] = _frames(error.__traceback__)
    return event


def _frames(trace: TracebackType | None, most: int = 8) -> list[str]:
    return [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(trace)[-most:]]


def plain_line(_: Any, __: str, event: EventDict) -> str:
    """Return a log line as a sentence: level, event, reason and advice, then all other fields in brackets.

    >>> plain_line(None, "", {"level": "WARNING", "event": "model is odd", "rows": 3, "advice": "look"})
    'Warning: model is odd (rows 3): look'
    """
    texts = [str(event.pop(name)) for name in ("reason", "error", "hint", "advice") if event.get(name)]
    level, text = str(event.pop("level", "info")).capitalize(), str(event.pop("event", "")).strip()
    frames = event.pop("where", ())
    event.pop("time", None)
    fields = ", ".join(f"{name.replace('_', ' ')} {_field(value)}" for name, value in event.items())
    line = f"{level}: {text}{f' ({fields})' if fields else ''}{''.join(f': {t}' for t in texts)}"
    return "\n  ".join([line, *frames])


def _field(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _order_fields(_: Any, __: str, event: EventDict) -> EventDict:
    event["level"] = str(event.get("level", "info")).upper()
    first = {key: event[key] for key in _FIRST_FIELDS if key in event}
    return {**first, **{k: v for k, v in event.items() if k not in first}}
