"""Requests to an ASGI application in this process."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx


def post(app: Any, *requests: tuple[str, Any]) -> list[httpx.Response]:
    """Send JSON to paths of an application, one request after the other."""

    async def send() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://host") as client:
            return [await client.post(path, json=body) for path, body in requests]

    return asyncio.run(send())
