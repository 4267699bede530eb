"""Calls of a model's HTTP server, with limits of time and size."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from driftbell.errors import AnswerError, ModelError
from driftbell.hidden_values import values_are_hidden
from driftbell.models.missing_library import import_library
from driftbell.models.nesting import nesting_depth
from driftbell.phrases import printable

MAX_ANSWER_BYTES = 64 * 1024**2
MAX_DEPTH = 100
MAX_SHOWN = 200
"""Characters of an answer that a message shows."""

ADVICE = {
    401: "it asks for a login, and driftbell sends none",
    403: "it does not let driftbell call it",
    404: "check the path of the URL, and model.protocol",
    405: "check the path of the URL, and model.protocol",
}
"""Advice by status."""


class RemoteClient:
    """Calls a server, with a limit of time for the whole answer.

    Args:
        timeout: seconds from the call to the last byte of the answer.
        needed_by: the model, for messages.
    """

    def __init__(self, timeout: float, *, needed_by: str) -> None:
        self._httpx = import_library("httpx", needed_by=needed_by, extra="serve")
        self._timeout = timeout
        self._client = self._new_client()

    def call(self, method: str, url: str, body: Any) -> Any:
        """Return the JSON value that a server answered.

        Raises:
            AnswerError: it refuses the request (4xx), which a value in it may cause.
            ModelError: it cannot be reached, fails (5xx), or its answer is too late, too large or no JSON.
        """
        content = None if body is None else json.dumps(body, allow_nan=False).encode()
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        name = shown(url)
        answer = bytearray()
        try:
            with (
                self._client_in_time() as client,
                client.stream(method, url, content=content, headers=headers) as response,
            ):
                for chunk in response.iter_raw():
                    answer += chunk
                    if len(answer) > MAX_ANSWER_BYTES:
                        raise ModelError(
                            f"{name} answered more than {MAX_ANSWER_BYTES // 1024**2} MiB: check model.path"
                        )
        except TimeoutError as error:
            raise ModelError(
                f"{name} timed out: it has not answered within model.timeout ({self._timeout:g} s); check "
                "the server, or raise the setting"
            ) from error
        except self._httpx.HTTPError as error:
            reason = printable(str(error) or type(error).__name__, MAX_SHOWN).rstrip(".")
            raise ModelError(f"cannot reach {name}: {reason}; check model.path and the server") from error
        _require_success(response, bytes(answer), name)
        return _json_value(response, bytes(answer), name)

    @contextmanager
    def _client_in_time(self) -> Iterator[Any]:
        """Yield the client, which is closed and replaced if the time is over: a read would go on for ever.

        Raises:
            TimeoutError: the time is over.
        """
        client = self._client
        late = threading.Event()

        def end() -> None:
            late.set()
            client.close()

        timer = threading.Timer(self._timeout, end)
        timer.daemon = True
        timer.start()
        try:
            yield client
        except (self._httpx.HTTPError, RuntimeError, OSError) as error:
            if late.is_set() or isinstance(error, self._httpx.TimeoutException):
                raise TimeoutError from error
            raise
        finally:
            timer.cancel()
            if late.is_set():
                self._client = self._new_client()

    def _new_client(self) -> Any:
        return self._httpx.Client(timeout=self._timeout, follow_redirects=False)


def _require_success(response: Any, answer: bytes, name: str) -> None:
    status = response.status_code
    if status == 200:
        return
    if response.is_redirect:
        target = printable(shown(response.headers.get("location", "")), MAX_SHOWN)
        raise ModelError(
            f"{name} answered {status}, a redirect to '{target}', which is not followed: set model.path to "
            "it if that is the model's server"
        )
    shown_bytes = b"" if values_are_hidden() else answer[:MAX_SHOWN]  # it may repeat the request
    text = printable(shown_bytes.decode("utf-8", "replace"), MAX_SHOWN)
    message = f"{name} answered {status}{f': {text}' if text else ''}"
    advice = ADVICE.get(status, "look into the server's log" if status >= 500 else "check model.protocol")
    error = ModelError if status >= 500 or status in ADVICE else AnswerError
    raise error(f"{message}; {advice}")


def _json_value(response: Any, answer: bytes, name: str) -> Any:
    try:
        if nesting_depth(answer) > MAX_DEPTH:
            raise ValueError("nested too deeply")
        return json.loads(answer)
    except (ValueError, RecursionError) as error:
        kind = response.headers.get("content-type", "").partition(";")[0].strip()
        what = f" ({printable(kind, 40)})" if kind and "json" not in kind else ""
        raise ModelError(f"{name} answered no JSON{what}; check model.path and model.protocol") from error


def shown(url: str) -> str:
    """Return a URL without user and password.

    >>> shown("http://me:secret@host:8080/x")
    'http://host:8080/x'
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # no valid address
        return url.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
