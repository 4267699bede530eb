"""One component of a running stack as the doctor asks it: responses, or the problem with a suggested fix."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx


class ComponentProblem(Exception):  # noqa: N818 - a problem of the stack, not of this program
    """A component does not work as expected.

    Args:
        message: the facts.
        fix: what to do.
        status: HTTP status; None without a response.
    """

    def __init__(self, message: str, fix: str, status: int | None = None) -> None:
        super().__init__(message)
        self.message, self.fix, self.status = message, fix, status


@dataclass(frozen=True, slots=True)
class Part:
    """A component and how it is reached.

    Attributes:
        name: its name in findings.
        url: its URL, without a slash at the end.
        client: the HTTP client.
        seconds: time limit of one response.
        headers: headers of each request.
        auth: user and password.
    """

    name: str
    url: str
    client: httpx.AsyncClient
    seconds: float
    headers: Mapping[str, str] = field(default_factory=dict)
    auth: tuple[str, str] | None = None

    @property
    def address_hint(self) -> str:
        """Advice for a URL at which another program answers."""
        return f"set its URL with --{self.name}, or skip it with --{self.name} off"

    async def get(self, path: str, **query: str) -> httpx.Response:
        """Send a GET request; raise `ComponentProblem` unless the response is a success."""
        url = self.url + path
        try:
            async with asyncio.timeout(self.seconds):  # the timeout of httpx restarts with every chunk
                answer = await self.client.get(
                    url, params=query, headers=dict(self.headers), auth=self.auth or httpx.USE_CLIENT_DEFAULT
                )
        except (TimeoutError, httpx.TimeoutException) as error:
            raise ComponentProblem(
                f"{url} did not answer within {self.seconds:g} s",
                "it hangs, or a firewall blocks the connection: read its log",
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(url, error) from error
        if answer.is_success:
            return answer
        detail = f": {_error_text(answer)}" if _error_text(answer) else ""
        fixes = {
            401: "set its credentials: DRIFTBELL_API_KEY for the service, GRAFANA_TOKEN or GRAFANA_PASSWORD",
            403: "the credentials lack permission: use others",
            404: self.address_hint,
            503: "it is starting or not ready: wait 30 seconds, then read its log",
        }
        fix = self.address_hint if answer.is_redirect else fixes.get(answer.status_code, "read its log")
        raise ComponentProblem(f"{url} answers {answer.status_code}{detail}", fix, answer.status_code)

    async def json(self, path: str, **query: str) -> Any:
        """Send a GET request and return the JSON of the response."""
        answer = await self.get(path, **query)
        try:
            return answer.json()
        except ValueError as error:
            kind = answer.headers.get("content-type", "no type").partition(";")[0]
            raise ComponentProblem(
                f"{self.url}{path} answers with {kind} instead of JSON", self.address_hint
            ) from error

    def _unreachable(self, url: str, error: Exception) -> ComponentProblem:
        causes = _causes(error)
        if any(isinstance(c, socket.gaierror) for c in causes):
            return ComponentProblem(f"the host '{httpx.URL(url).host}' cannot be resolved", self.address_hint)
        if any(isinstance(c, ssl.SSLError) for c in causes):
            fix = "use http:// if it does not use TLS; trust its certificate with SSL_CERT_FILE"
            return ComponentProblem(f"no TLS connection to {self.url}: {error}", fix)
        if isinstance(error, httpx.ConnectError):
            return ComponentProblem(f"nothing answers at {self.url}", f"start it, or {self.address_hint}")
        return ComponentProblem(f"the server at {self.url} does not speak HTTP", self.address_hint)


def _causes(error: BaseException) -> list[BaseException]:
    """Return an error with its causes and contexts, including members of exception groups."""
    errors = [error]
    for one in errors:
        inner = [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
        errors += [e for e in inner if e is not None and e not in errors]
    return errors


def _error_text(answer: httpx.Response) -> str:
    """Return the error message of a response on one line; "" for an HTML page."""
    try:
        body = answer.json()
        text = next((str(body[k]) for k in ("detail", "message", "error") if body.get(k)), "")
    except (ValueError, AttributeError):
        text = "" if "html" in answer.headers.get("content-type", "") else answer.text
    return " ".join(text.split())[:200]
