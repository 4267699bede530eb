"""Compressed request bodies: gzip, deflate and zstd (RFC 9110, 8.4.1), decompressed up to a limit."""

from __future__ import annotations

import importlib.util
import zlib
from typing import NoReturn

from starlette.requests import Request

from driftbell.server.heavy_work import ClientGoneError, run_admitted
from driftbell.server.http.problems import Refused

GZIP_MARK, ZSTD_MARK = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"

ALIASES = {"x-gzip": "gzip"}

MAX_MEMBERS = 100
"""Compressed streams that may follow each other in one body; each copies the rest of the body."""

INLINE_BYTES, INLINE_RESULT_BYTES = 16 * 1024, 256 * 1024
"""A small body with a small result is decompressed on the event loop, in less than a millisecond."""

GZIP_BITS, ZLIB_BITS, RAW_BITS = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS


class TooLargeError(Exception):
    """The result is larger than the limit."""


def codings() -> tuple[str, ...]:
    """Return the codings that this service can decompress; zstd needs pyarrow."""
    return ("gzip", "deflate", *(("zstd",) if _has_zstd() else ()))


def content_coding(request: Request) -> str | None:
    """Return the coding of a request's body; None if it is not compressed.

    Raises:
        Refused: 415, several codings, or one that this service cannot decompress.
    """
    header = request.headers.getlist("content-encoding")
    if not header:
        return None
    names = [name.strip().lower() for line in header for name in line.split(",")]
    names = [ALIASES.get(name, name) for name in names if name not in ("", "identity")]
    if not names:
        return None
    if len(names) == 1 and names[0] in codings():
        return names[0]
    known = f"gzip, deflate{', zstd' if _has_zstd() else ''} or no Content-Encoding"
    if len(names) > 1:
        detail = f"the body is compressed {len(names)} times: compress it once, with {known}"
    elif names[0] == "zstd":
        detail = (
            f"zstd needs pyarrow on the server (pip install 'driftbell[parquet]'): send the body with {known}"
        )
    else:
        detail = f"the Content-Encoding '{names[0][:40]}' is not accepted: send the body with {known}"
    raise Refused(415, "content_encoding", detail, headers={"Accept-Encoding": ", ".join(codings())})


async def decompress(request: Request, body: bytes, coding: str, limit: int, waiting_limit: int) -> bytes:
    """Decompress a body; one that may take long in a thread, one after the other.

    Args:
        request: the request.
        body: its compressed body.
        coding: as `content_coding` returns it.
        limit: the largest result in bytes; decompression stops there.
        waiting_limit: bytes of compressed bodies that may wait.

    Raises:
        Refused: 400 the body is not valid, 413 the result is larger than the limit.
        OverloadedError: too many large bodies wait.
    """
    try:
        result = await _decompressed(request, body, coding, limit, waiting_limit)
    except TooLargeError as error:
        detail = (
            f"the body decompresses to more than {limit} bytes: send fewer rows at a time, "
            "or raise server.body_limit"
        )
        raise Refused(413, "too_large", detail) from error
    except ClientGoneError as error:
        raise Refused(400, "disconnected", "the client disconnected before its turn") from error
    if result.startswith((GZIP_MARK, ZSTD_MARK)):
        raise Refused(400, "content_encoding", "the body is compressed twice: compress it once")
    return result


async def _decompressed(request: Request, body: bytes, coding: str, limit: int, waiting_limit: int) -> bytes:
    if len(body) <= INLINE_BYTES and coding != "zstd":
        try:
            return inflate(body, coding, min(limit, INLINE_RESULT_BYTES))
        except TooLargeError:
            if limit <= INLINE_RESULT_BYTES:
                raise
    work = unpack_zstd if coding == "zstd" else inflate
    return await run_admitted(
        lambda: work(body, coding, limit),
        size=len(body),
        limit=waiting_limit,
        is_gone=request.is_disconnected,
    )


def inflate(body: bytes, coding: str, limit: int) -> bytes:
    """Decompress gzip or deflate.

    Deflate is a zlib stream, or a bare deflate stream as some clients send it.

    Raises:
        Refused: 400, the body is not valid.
        TooLargeError: the result is larger than the limit.
    """
    if coding == "gzip" and not body.startswith(GZIP_MARK):
        _refuse_other(coding)
    bits = GZIP_BITS if coding == "gzip" else ZLIB_BITS if _is_zlib(body) else RAW_BITS
    parts: list[bytes] = []
    size = 0
    while body:
        if len(parts) == MAX_MEMBERS:
            raise Refused(400, "content_encoding", f"the body has more than {MAX_MEMBERS} compressed streams")
        stream = zlib.decompressobj(bits)
        try:
            parts.append(stream.decompress(body, limit - size + 1))
        except zlib.error as error:
            _refuse_corrupt(coding, error)
        size += len(parts[-1])
        if size > limit:
            raise TooLargeError
        if not stream.eof:
            _refuse_corrupt(coding, "it ends too early")
        body = stream.unused_data
        if body and not (coding == "gzip" and body.startswith(GZIP_MARK)):
            _refuse_corrupt(coding, "it has bytes after its end")
    return b"".join(parts)


def unpack_zstd(body: bytes, coding: str, limit: int) -> bytes:
    """Decompress zstd with pyarrow; Python has no module for it before 3.14.

    Raises:
        Refused: 400, the body is not valid.
        TooLargeError: the result is larger than the limit.
    """
    import pyarrow as pa

    if not body.startswith(ZSTD_MARK):
        _refuse_other(coding)
    try:
        with pa.CompressedInputStream(pa.BufferReader(body), "zstd") as stream:
            result = bytes(stream.read(limit + 1))
    except (OSError, ValueError) as error:
        _refuse_corrupt(coding, str(error).partition("\n")[0][:100])
    if len(result) > limit:
        raise TooLargeError
    return result


def compression_hint(body: bytes) -> str | None:
    """Return what to do about a compressed body that was sent without its header; None for another body."""
    name = "gzip" if body.startswith(GZIP_MARK) else "zstd" if body.startswith(ZSTD_MARK) else None
    return name and f"the body is {name}: send the header 'Content-Encoding: {name}' with it"


def _is_zlib(body: bytes) -> bool:
    """Return whether a body begins as a zlib stream does (RFC 1950, 2.2)."""
    return len(body) >= 2 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0


def _has_zstd() -> bool:
    return importlib.util.find_spec("pyarrow") is not None


def _refuse_other(coding: str) -> NoReturn:
    detail = (
        f"the header Content-Encoding says {coding}, but the body is not {coding}: "
        "compress the body, or leave the header out"
    )
    raise Refused(400, "content_encoding", detail)


def _refuse_corrupt(coding: str, reason: object) -> NoReturn:
    raise Refused(
        400, "content_encoding", f"the {coding} body is corrupt or cut off ({reason}): send it again"
    )
