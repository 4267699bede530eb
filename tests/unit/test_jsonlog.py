from __future__ import annotations

import io
import json
import logging
import sys
import warnings
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
import structlog

from driftbell import jsonlog
from driftbell.errors import StoreError
from driftbell.hidden_values import hide_values

SECRET = "5.123457"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Log lines of this process, put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    result = io.StringIO()
    structlog.reset_defaults()
    jsonlog.configure(result)
    yield result
    logging.captureWarnings(False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers, root.level = handlers, level


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_with_time_level_and_event_first(stream: io.StringIO) -> None:
    structlog.get_logger().info("drift check", rows=3, verdict="ok")
    (line,) = lines(stream)
    assert list(line) == ["time", "level", "event", "rows", "verdict"]
    assert (line["level"], line["event"], line["rows"]) == ("INFO", "drift check", 3)
    moment = datetime.fromisoformat(line["time"])
    assert moment.utcoffset() is not None


def test_the_request_id_is_in_every_line_of_its_request(stream: io.StringIO) -> None:
    structlog.contextvars.bind_contextvars(request_id="abc")
    structlog.get_logger().warning("one")
    logging.getLogger("library").warning("two")
    structlog.contextvars.clear_contextvars()
    structlog.get_logger().warning("three")
    one, two, three = lines(stream)
    assert list(one)[:4] == list(two)[:4] == ["time", "level", "event", "request_id"]
    assert one["request_id"] == two["request_id"] == "abc"
    assert "request_id" not in three


@pytest.mark.parametrize("level", ["INFO", "WARNING", "ERROR"])
def test_libraries_lines_look_like_ours(stream: io.StringIO, level: str) -> None:
    logging.getLogger("uvicorn.error").log(logging.getLevelName(level), "Started server process [%d]", 12)
    (line,) = lines(stream)
    assert list(line) == ["time", "level", "event"]
    assert (line["level"], line["event"]) == (level, "Started server process [12]")


def test_lines_below_the_level_are_dropped(stream: io.StringIO) -> None:
    structlog.get_logger().debug("quiet")
    logging.getLogger("library").debug("quiet")
    logging.getLogger("httpx").info("quiet")
    assert stream.getvalue() == ""


def test_the_words_of_a_foreign_error_are_left_out(stream: io.StringIO) -> None:
    try:
        try:
            raise ValueError(f"cannot use {SECRET}")
        except ValueError as inner:
            raise RuntimeError(f"no {SECRET}") from inner
    except RuntimeError:
        structlog.get_logger().exception("drift check failed", check_id="c")
        logging.getLogger("library").exception("it failed")
    ours, theirs = lines(stream)
    for line in (ours, theirs):
        assert line["level"] == "ERROR"
        assert line["error_type"] == "RuntimeError"
        assert any("test_the_words_of_a_foreign_error_are_left_out" in frame for frame in line["where"])
        assert "error" not in line
    assert SECRET not in stream.getvalue()


def test_messages_of_our_own_errors_are_logged(stream: io.StringIO) -> None:
    try:
        raise StoreError("the disk is full")
    except StoreError:
        structlog.get_logger().exception("request failed")
    (line,) = lines(stream)
    assert (line["error_type"], line["error"]) == ("StoreError", "the disk is full")


def test_an_error_that_is_given_is_described_like_one_that_is_handled(stream: io.StringIO) -> None:
    structlog.get_logger().error("failed", exc_info=KeyError(SECRET))
    (line,) = lines(stream)
    assert line["error_type"] == "KeyError"
    assert SECRET not in stream.getvalue()


def test_warnings_are_lines_too(stream: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old thing", UserWarning, stacklevel=1)
    (line,) = lines(stream)
    assert line["level"] == "WARNING"
    assert "old thing" in line["event"]


def test_values_that_are_not_json_and_line_breaks_stay_one_line(stream: io.StringIO) -> None:
    structlog.get_logger().info("two\nlines", thing=object(), path={"a": {1, 2}})
    assert len(stream.getvalue().splitlines()) == 1
    assert lines(stream)[0]["event"] == "two\nlines"


def test_a_command_writes_sentences(stream: io.StringIO) -> None:
    stream.truncate(0)
    jsonlog.configure(stream, level="WARNING", plain=True)
    log = structlog.get_logger()
    log.info("not shown")
    log.warning("model was probably fitted on its reference", model="m", reason="R² is 1.0")
    log.warning("values are unknown", column="zip", examples=["a", "b"], advice="set its type")
    logging.getLogger("library").warning("low on %s", "disk")
    log.error("check failed", exc_info=ValueError(SECRET))
    first, second, third, *rest = stream.getvalue().lstrip("\0").splitlines()
    assert first == "Warning: model was probably fitted on its reference (model m): R² is 1.0"
    assert second == "Warning: values are unknown (column zip, examples a, b): set its type"
    assert third == "Warning: low on disk"
    assert rest[-1] == "Error: check failed (error type ValueError)"
    assert SECRET not in stream.getvalue()


@pytest.mark.parametrize("text", [f"UserWarning: odd {SECRET}", f"odd: {SECRET}: x", SECRET])
def test_a_warning_in_another_format_is_hidden_whole(stream: io.StringIO, text: str) -> None:
    hide_values()
    logging.getLogger("py.warnings").warning("%s", text)
    [line] = lines(stream)
    assert line["event"] == "a library warned, with a message that columns.log hides"


def test_messages_of_other_libraries_are_hidden_where_a_column_is_masked(stream: io.StringIO) -> None:
    hide_values()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn(f"odd {SECRET}", UserWarning, stacklevel=1)
    logging.getLogger("own.model").warning("odd %s", SECRET)
    logging.getLogger("uvicorn.error").error("Traceback (most recent call last):\nValueError: %s", SECRET)
    warned, own, server = lines(stream)
    assert warned["event"].startswith(__file__)
    assert warned["event"].endswith(": UserWarning")
    assert own["event"] == "own.model logged a message, which columns.log hides"
    assert own["where"][0].startswith(f"{__file__}:")
    assert server["event"] == "Traceback (most recent call last):"
    assert SECRET not in stream.getvalue()


@pytest.mark.parametrize(
    ("text", "event"),
    [
        (
            f"Task exception was never retrieved\nfuture: <Task exception=ValueError('{SECRET}')>",
            "Task exception was never retrieved",
        ),
        (f"Exception in callback save('{SECRET}') at a.py:1\nhandle: <Handle>", "Exception in callback save"),
    ],
)
def test_lines_of_asyncio_have_no_arguments_and_errors(stream: io.StringIO, text: str, event: str) -> None:
    logging.getLogger("asyncio").error(text, exc_info=ValueError(SECRET))
    (line,) = lines(stream)
    assert (line["event"], line["error_type"]) == (event, "ValueError")
    assert SECRET not in stream.getvalue()


def test_an_error_that_ends_a_process_is_a_line(stream: io.StringIO) -> None:
    sys.excepthook(ValueError, ValueError(SECRET), None)
    (line,) = lines(stream)
    assert (line["event"], line["error_type"]) == ("process ended", "ValueError")
    assert SECRET not in stream.getvalue()
