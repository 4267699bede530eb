"""Bodies that a proxy has passed on, as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from driftbell.records import Feature
from driftbell.server.http.body import parse_json
from driftbell.server.http.content_encoding import ALIASES, TooLargeError, codings, inflate, unpack_zstd
from driftbell.server.http.problems import Refused
from driftbell.server.proxy.exchange_queue import CapturedBody
from driftbell.tabular.binary_tensors import LENGTH_HEADER, fill_tensors, split_body
from driftbell.tabular.inference_tables import csv_rows


class BodyReader:
    """Reads the bodies of requests and answers.

    Args:
        features: the model's features, for rows of CSV.
        limit: the largest size of a decompressed body in bytes.
    """

    def __init__(self, features: Sequence[Feature], limit: int) -> None:
        self._features = features
        self._limit = limit

    def read(self, request: CapturedBody, answer: CapturedBody) -> tuple[Any, Any]:
        """Return the JSON of a request and of its answer.

        Raises:
            ValueError: one of them cannot be read.
        """
        try:
            sent = self._content(request)
            if request.headers.get("content-type", "").lower().startswith("text/csv"):
                rows: Any = {"dataframe_records": csv_rows(sent.decode(), self._features)}
            else:
                rows = _json(sent, request, "inputs")
        except (Refused, ValueError) as error:
            raise ValueError(f"request: {error}") from error
        try:
            return rows, _json(self._content(answer), answer, "outputs")
        except (Refused, ValueError) as error:
            raise ValueError(f"answer: {error}") from error

    def _content(self, body: CapturedBody) -> bytes:
        """Return a body, decompressed.

        Raises:
            Refused, ValueError: it cannot be decompressed, or is too large.
        """
        name = body.headers.get("content-encoding", "").strip().lower()
        coding = ALIASES.get(name, name)
        if coding in ("", "identity"):
            return body.content
        if coding not in codings():
            raise ValueError(f"its Content-Encoding '{name[:40]}' cannot be read")
        try:
            unpack = unpack_zstd if coding == "zstd" else inflate
            return unpack(body.content, coding, self._limit)
        except TooLargeError as error:
            raise ValueError(f"it decompresses to more than {self._limit:,} bytes") from error


def _json(content: bytes, body: CapturedBody, key: str) -> Any:
    length = body.headers.get(LENGTH_HEADER)
    if length is None:
        return parse_json(content)
    head, binary = split_body(content, length)
    return fill_tensors(parse_json(head), binary, key)
