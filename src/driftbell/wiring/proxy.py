"""Run the proxy in front of a model's server."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from urllib.parse import urlsplit

import structlog

from driftbell.config.settings import Settings
from driftbell.errors import ConfigError
from driftbell.models.remote_call import shown
from driftbell.phrases import network_address
from driftbell.process.stop_signal import handle_stop
from driftbell.server.auth.guard import Access
from driftbell.server.auth.keyring import Keyring
from driftbell.server.processes import run_single
from driftbell.server.proxy.app import OWN_PATH, PREDICT_PATHS, PredictRequests
from driftbell.server.proxy.service import ProxyService, create_proxy
from driftbell.server.proxy.upstream import Upstream
from driftbell.store.sql import SqlStore
from driftbell.tabular.exchanges import JsonFields
from driftbell.wiring.access import auth_rule
from driftbell.wiring.logged_values import logged_values
from driftbell.wiring.model import open_serving_model
from driftbell.wiring.server import check_port, server_config
from driftbell.wiring.store import clock, open_store

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ProxyOptions:
    """Options of a proxy.

    Attributes:
        upstream: URL of the model's server.
        protocol: `json`, `mlflow` or `v2`.
        path: path of the requests that predict; None for the usual one of the protocol.
        fields: fields of plain JSON.
        id_header: header of a request with the user's own id; "" if there is none.
    """

    upstream: str
    protocol: str
    path: str | None
    fields: JsonFields
    id_header: str = ""


def run_proxy(settings: Settings, options: ProxyOptions) -> None:
    """Pass on requests until a stop signal.

    Raises:
        ConfigError, StoreError: the proxy cannot start.
    """
    if settings.model.prediction is None:
        raise ConfigError(
            "driftbell proxy is for a model that is served elsewhere: set model.prediction to the column of "
            "its predictions in model.reference"
        )
    upstream = open_upstream(options.upstream, settings.model.timeout.total_seconds())
    check_port(settings.server.host, settings.server.port)
    model = open_serving_model(settings)
    store = open_store(settings, lazy=True)
    is_json = options.protocol == "json"
    path = re.compile(re.escape(options.path)) if options.path else PREDICT_PATHS[options.protocol]
    service = ProxyService(
        model=model,
        store=store,
        journals=settings.journals_dir,
        upstream=upstream,
        predict=PredictRequests(path, options.id_header.lower(), is_json and options.fields.id is not None),
        fields=options.fields if is_json else None,
        body_limit=settings.server.body_limit,
        queue_limit=settings.server.queue_limit,
        durability=settings.log.durability,
        access=_access(settings, store),
        clock=clock,
        logged=logged_values(settings, model),
    )
    address = network_address(settings.server.host, settings.server.port)
    handle_stop(lambda *_: sys.exit(0))
    logger.info("proxy starting", url=f"http://{address}", upstream=upstream.name, own_pages=OWN_PATH)
    run_single(server_config(create_proxy(service), settings, date_header=False), supervised=False)


def open_upstream(url: str, timeout: float) -> Upstream:
    """Return the client of a server.

    Args:
        url: its URL, with or without a path.
        timeout: seconds for each step of an answer.

    Raises:
        ConfigError: the URL is not valid.
    """
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        parts, port, host = urlsplit(""), None, None
    tls = parts.scheme == "https"
    if not host or parts.scheme not in ("http", "https") or port == 0 or parts.query or parts.fragment:
        raise ConfigError(f"--upstream must be a URL such as http://127.0.0.1:5000, got '{shown(url)}'")
    if parts.username or parts.password:
        raise ConfigError("--upstream must have no user: clients send their own Authorization header")
    return Upstream(host, port or (443 if tls else 80), tls=tls, path=parts.path.rstrip("/"), timeout=timeout)


def _access(settings: Settings, store: SqlStore) -> Access:
    """Return the check of keys for the proxy's metrics: they need one as soon as there are keys."""
    if auth_rule(settings) == "never":
        return Access()
    return Access(Keyring(store.keys, clock=clock), always=False)
