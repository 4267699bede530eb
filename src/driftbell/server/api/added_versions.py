"""`POST /models`: add a version from an uploaded model file, in a process of its own."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from driftbell.publish.wording import truncate
from driftbell.server.http.problems import Refused, documented

MAX_BYTES = 256 * 1024**2
"""Maximum size of a model file, as of `driftbell models add`."""

MAX_SECONDS = 600.0
"""Time for the checks of a model; then their process is killed."""

MAX_MESSAGE = 2000
MEDIA_TYPE = "application/octet-stream"
FILE_NAME = r"^[A-Za-z0-9_][\w.-]{0,99}$"

NO_KEYS = (
    "a model file may run code, so adding one needs an API key with the scope 'admin', and this service "
    "requires no keys: run `driftbell models add` on its machine, or `driftbell keys create` first"
)
OTHER_MODEL = "run `driftbell models add --config FILE` with the settings file of this model"

Text = Annotated[str | None, Query(max_length=500)]


def add_version_route(router: APIRouter, *, is_main: bool) -> None:
    """Add the route to the router of `/models`.

    Args:
        router: the router.
        is_main: whether it is that of the main model; files for further models are refused.
    """
    busy = asyncio.Lock()
    body = {"required": True, "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}}

    @router.post(
        "",
        status_code=201,
        summary="Add a version",
        openapi_extra={"requestBody": body},
        responses=documented(400, 403, 409, 413, 415, 422),
    )
    async def add_version(
        request: Request,
        file: Annotated[str, Query(pattern=FILE_NAME, description="Name of the file, with its ending.")],
        author: Text = None,
        note: Text = None,
        sha256: Annotated[str | None, Query(pattern="^[0-9a-f]{64}$")] = None,
        target: Text = None,
        classes: Text = None,
        threshold: Text = None,
    ) -> JSONResponse:
        """Add a version of the model from the file in the body, as `driftbell models add` does.

        Its reference is that of the settings. A file that can run code, such as a pickle, needs its `sha256`.
        The author is the name of the key by default. The status is 200 if the version was registered before.
        """
        key = request.scope.get("driftbell.key")
        if key is None:
            raise Refused(403, "no_keys", NO_KEYS)
        if not is_main:
            raise Refused(409, "further_model", OTHER_MODEL)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != MEDIA_TYPE:
            raise Refused(415, "media_type", f"send the file with 'Content-Type: {MEDIA_TYPE}'")
        if request.headers.get("content-encoding", "identity") != "identity":
            raise Refused(415, "encoding", "send the file without Content-Encoding")
        if busy.locked():
            raise Refused(409, "busy", "another version is being added: try again when it is done")
        options = {
            "author": author or key.name,
            "note": note,
            "target": target,
            "classes": classes,
            "threshold": threshold,
        }
        async with busy:
            with tempfile.TemporaryDirectory(prefix="driftbell-version-") as folder:
                path = Path(folder) / file
                digest = await _save(request, path)
                if sha256 is not None and sha256 != digest:
                    raise Refused(422, "sha256", f"the SHA-256 of the body is {digest}, not {sha256}")
                facts = await _add(path, options, is_trusted=sha256 is not None)
        return JSONResponse(facts, status_code=201 if facts["is_new"] else 200)


async def _save(request: Request, path: Path) -> str:
    """Write the body to a file, and return its SHA-256.

    Raises:
        Refused: 413 too large, 400 empty or the client disconnected.
    """
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("xb") as target:
            async for part in request.stream():
                size += len(part)
                if size > MAX_BYTES:
                    raise Refused(413, "too_large", f"a model file has at most {MAX_BYTES // 1024**2} MiB")
                digest.update(part)
                target.write(part)
    except ClientDisconnect as error:
        raise Refused(400, "disconnected", "the client disconnected before the end of the file") from error
    if not size:
        raise Refused(400, "empty", "the body is empty: send the model file")
    return digest.hexdigest()


async def _add(path: Path, options: Mapping[str, str | None], *, is_trusted: bool) -> dict[str, Any]:
    """Run `driftbell models add`, with the settings of this process, and return what it prints.

    Raises:
        Refused: 422 it refuses the file; 409 it takes too long.
    """
    arguments = [f"--{name}={value}" for name, value in options.items() if value]
    trust = ["--trust"] if is_trusted else []
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "driftbell", "models", "add", str(path), "--json", *arguments, *trust),
        env={name: value for name, value in os.environ.items() if name != "PROMETHEUS_MULTIPROC_DIR"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), MAX_SECONDS)
    except TimeoutError as error:
        raise Refused(409, "timeout", f"the checks of the model took more than {MAX_SECONDS:g} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise Refused(422, "model", _message(errors.decode(errors="replace"), path))
    facts: dict[str, Any] = json.loads(output)
    return facts


def _message(text: str, path: Path) -> str:
    """Return the error of the command without the folder of the upload, and with the parameters of the route.

    >>> _message("driftbell: /tmp/x/m.onnx: no model", Path("/tmp/x/m.onnx"))
    'm.onnx: no model'
    """
    text = text.replace(f"{path.parent}{os.sep}", "").replace("pass --trust", "pass it as sha256")
    reason = re.split(r"^driftbell: ", text, flags=re.MULTILINE)[-1].strip()
    return truncate(reason or "the model cannot be added", MAX_MESSAGE)
