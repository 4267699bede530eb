"""Atomic and durable file writes: readers see the old content or the new one, never a part of it."""

from __future__ import annotations

import os
from pathlib import Path

PART_SUFFIX = ".part"


def write_atomically(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Write a file under a hidden temporary name, flush it to the disk, and rename it to its own name.

    An interrupted write leaves the previous file as it was. The content survives a power loss once this
    returns.

    Args:
        path: the file, in an existing folder; an existing file is replaced.
        content: the whole content.
        mode: the permissions of the file, less the umask.

    Raises:
        OSError: it cannot be written; the temporary file is removed.
    """
    part = path.with_name(f".{path.name}{PART_SUFFIX}")
    try:
        with open(part, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_output(path: Path, content: bytes) -> None:
    """Write a file that a user has named: atomically, unless it is a device or a pipe.

    A symbolic link stays one, and its target is replaced.

    Raises:
        OSError: it cannot be written.
    """
    is_device = path.absolute().parts[1:2] == ("dev",)  # such as /dev/stdout, also if that is a file
    if is_device or (path.exists() and not path.is_file()):
        path.write_bytes(content)
    else:
        write_atomically(path.resolve(), content)


def sync_folder(folder: Path) -> None:
    """Flush a folder to the disk, so that names created or renamed in it survive a power loss.

    Raises:
        OSError: it cannot be opened or flushed.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
