"""Decompress files in memory; the format is detected by the first bytes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from typing import Any

from driftbell.errors import ConfigError

ZSTD = b"\x28\xb5\x2f\xfd"
FORMATS = ((b"\x1f\x8b", "gzip"), (ZSTD, "zstd"), (b"BZh", "bzip2"), (b"\xfd7zXZ\0", "xz"))


def compression_of(data: bytes) -> str | None:
    """Return the compression of some bytes; None for none."""
    return next((name for mark, name in FORMATS if data.startswith(mark)), None)


def decompress(data: bytes, source: str) -> tuple[bytes, str | None]:
    """Return decompressed bytes, and the name of the compression; None for none.

    Raises:
        ConfigError: the bytes are corrupt or cut off, or an archive has several files.
    """
    name = compression_of(data)
    try:
        match name:
            case "gzip":
                return gzip.decompress(data), name
            case "bzip2":
                return bz2.decompress(data), name
            case "xz":
                return lzma.decompress(data), name
            case "zstd":
                return _zstd(data), name
        if data.startswith(b"PK\x03\x04") and (content := _only_member(data, source)) is not None:
            return content, "zip"
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        raise ConfigError(
            f"cannot read {source}: the {name or 'zip'} file is corrupt or cut off ({error})"
        ) from error
    return data, None


def _only_member(data: bytes, source: str) -> bytes | None:
    """Return the only file of an archive; None for a workbook."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = [n for n in archive.namelist() if not n.endswith("/") and not n.startswith("__MACOSX")]
        if "[Content_Types].xml" in names or "mimetype" in names:
            return None
        if len(names) != 1:
            raise ConfigError(f"cannot read {source}: the archive has {len(names)} files, must have one")
        return archive.read(names[0])


def _zstd(data: bytes) -> bytes:
    """Decompress with Polars, which reads lines of text; Python has no module for zstd before 3.14."""
    import polars as pl

    options: dict[str, Any] = {
        "has_header": False,
        "separator": "\x1f",
        "quote_char": None,
        "infer_schema": False,
    }
    try:
        lines = pl.read_csv(data, **options, truncate_ragged_lines=False, encoding="utf8")
    except pl.exceptions.PolarsError as error:
        raise ValueError(str(error).partition("\n")[0]) from error
    return "\n".join(line or "" for line in lines.to_series().to_list()).encode("utf-8")
