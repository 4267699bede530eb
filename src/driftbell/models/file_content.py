"""Format of a file by its first bytes, for messages about files that cannot be loaded as models."""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from pathlib import Path
from pickle import UnpicklingError

from driftbell.errors import ModelError

PICKLES = (".pkl", ".pickle", ".joblib", ".cloudpickle")
SIGNATURES: tuple[tuple[re.Pattern[bytes], str, tuple[str, ...]], ...] = (
    (re.compile(rb"\x80[\x02-\x05]|c[A-Za-z_][\w.]*\n\w+\n"), "a pickle", PICKLES),
    (re.compile(rb"\x1f\x8b|BZh|\xfd7zXZ|\x04\x22M\x18|\x78[\x01\x5e\x9c\xda]"), "compressed", PICKLES),
    (re.compile(rb"\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!"), "compressed", ()),
    (re.compile(rb"PK\x03\x04"), "a zip archive", (".skops", ".pt2")),
    (re.compile(rb"tree\r?\n"), "a model of LightGBM", (".txt", ".lgb")),
    (re.compile(rb"CBM1"), "a model of CatBoost", (".cbm", ".cb")),
    (re.compile(rb"\{L?[\x00 \n\r\t]*[iLU\"\x00}]"), "JSON or UBJSON", (".json", ".ubj", ".xgb")),
    (re.compile(rb"\x08[\x01-\x20][\x12\x1a\x22\x3a\x42\x72]"), "an ONNX graph", (".onnx",)),
    (re.compile(rb"\x89HDF"), "an HDF5 file, as Keras writes", ()),
    (re.compile(rb"PAR1"), "a Parquet table", ()),
    (re.compile(rb"\x7fELF|MZ"), "a program", ()),
)
"""First bytes, description, and the suffixes of models that begin so."""

PAGE = re.compile(rb"\s*<(?:!doctype|html|\?xml)", re.IGNORECASE)
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
DAMAGED = "it is cut off or damaged: copy it, or save the model, again"
DAMAGE_ERRORS = (EOFError, IndexError, UnpicklingError, struct.error, zlib.error, zipfile.BadZipFile)


def require_content(path: Path, content: bytes) -> None:
    """Require that a file may be a model of any format.

    Raises:
        ModelError: it is empty, a web page, or a pointer of Git LFS.
    """
    if not content:
        raise ModelError(f"cannot load {path}: it is empty (0 bytes); copy it, or save the model, again")
    if content.startswith(LFS_POINTER):
        raise ModelError(
            f"cannot load {path}: it is a pointer of Git LFS and not the model; get that with `git lfs pull`"
        )
    if PAGE.match(content):
        raise ModelError(f"cannot load {path}: it is a web page (HTML or XML); download the model again")


def content_advice(path: Path, content: bytes) -> str:
    """Return what a file seems to be, and what to do about it; "" if its first bytes tell nothing.

    >>> content_advice(Path("m.txt"), b"CBM1...")
    'it seems to be a model of CatBoost: rename it to m.cbm'
    >>> content_advice(Path("m.txt"), b"tree...")
    ''
    """
    kind, suffixes = _signature(content)
    suffix = path.suffix.lower()
    if suffix in suffixes:
        return DAMAGED
    if not kind:
        return ""
    if kind == "compressed":
        return "it seems to be compressed: decompress it first"
    if not suffixes:
        return f"it seems to be {kind}, which is not served"
    return f"it seems to be {kind}: rename it to {path.with_suffix(suffixes[0]).name}"


def damage_advice(path: Path, content: bytes, error: Exception) -> str:
    """Return the advice on a file that cannot be loaded because of its content; "" for other errors."""
    is_damage = isinstance(error, DAMAGE_ERRORS) or "EOF" in str(error)
    if is_damage:
        return content_advice(path, content) or DAMAGED
    kind, suffixes = _signature(content)
    return content_advice(path, content) if kind and path.suffix.lower() not in suffixes else ""


def _signature(content: bytes) -> tuple[str, tuple[str, ...]]:
    for pattern, kind, suffixes in SIGNATURES:
        if pattern.match(content):
            return _archive(content) if kind == "a zip archive" else (kind, suffixes)
    return "", ()


def _archive(content: bytes) -> tuple[str, tuple[str, ...]]:
    """Return which kind of model a zip archive seems to hold."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, struct.error):
        return "a zip archive", (".skops", ".pt2")
    if "schema.json" in names:
        return "a model of skops", (".skops",)
    if any(name.endswith(("models/model.json", "serialized_exported_program.json")) for name in names):
        return "a PyTorch program", (".pt2",)
    if any(name.endswith("data.pkl") for name in names):
        return "weights or a module of PyTorch", ()
    return "a zip archive", ()
