"""Models behind an HTTP server that already runs."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from driftbell.errors import AnswerError, ModelError
from driftbell.models.answers import class_ids, read_answers
from driftbell.models.loaded import LoadedModel
from driftbell.models.remote_call import RemoteClient, shown
from driftbell.phrases import printable
from driftbell.records import Outputs, Task

PROTOCOLS = ("json", "mlflow", "v2")
V2_TYPES = {
    **{f"int{bits}": f"INT{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"UINT{bits}" for bits in (8, 16, 32, 64)},
    "float32": "FP32",
    "float64": "FP64",
    "bool": "BOOL",
}
"""Type of the Open Inference Protocol by type of pandas; others are BYTES."""


@dataclass(frozen=True, slots=True)
class RemoteOptions:
    """Protocol and time limit of a server.

    Attributes:
        protocol: one of `PROTOCOLS`.
        timeout: seconds until the server must have answered.
    """

    protocol: str = "json"
    timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class Server:
    """A server of a model.

    Attributes:
        client: calls it.
        url: the URL of predictions.
        protocol: one of `PROTOCOLS`.
        inputs: name, type and shape of each input that the server describes, in the protocol v2.
    """

    client: RemoteClient
    url: str
    protocol: str
    inputs: tuple[Mapping[str, Any], ...] = ()


def load_remote(url: str, options: RemoteOptions, classes: Sequence[str]) -> tuple[LoadedModel, str]:
    """Return a model that a server predicts with.

    Args:
        url: its URL; of MLflow with or without `/invocations`, of the protocol v2 `/v2/models/NAME`.
        options: how it is called.
        classes: the user's class names; none for a regression.

    Returns:
        The model and a hash of its URL and of the version that the server tells.

    Raises:
        ModelError: the URL is not valid, or the server does not describe its model as the protocol v2 does.
    """
    if not _is_valid(url):
        raise ModelError(
            f"model.path {printable(shown(url), 200)} must be a URL such as 'http://127.0.0.1:8080/predict'"
        )
    client = RemoteClient(options.timeout, needed_by=shown(url))
    base = url.rstrip("/")
    version: Any = ""
    server = Server(client, base, options.protocol)
    if options.protocol == "mlflow":
        server = Server(client, base.removesuffix("/invocations") + "/invocations", options.protocol)
    elif options.protocol == "v2":
        base = base.removesuffix("/infer")
        description = client.call("GET", base, None)
        if not isinstance(description, dict) or "/v2/models/" not in base:
            raise ModelError(f"model.path {shown(url)} must be a model's URL, such as '.../v2/models/churn'")
        version = description.get("versions") or ""
        inputs = tuple(i for i in description.get("inputs") or () if isinstance(i, dict))
        server = Server(client, f"{base}/infer", options.protocol, inputs)
    digest = hashlib.sha256(json.dumps([options.protocol, shown(url), version]).encode()).hexdigest()
    loaded = LoadedModel(
        Task.CLASSIFICATION if classes else Task.REGRESSION,
        partial(_predict, server, tuple(classes)),
        tuple(classes),
        takes_frame=True,
        classes_decide=True,
    )
    return loaded, digest


def _is_valid(url: str) -> bool:
    try:
        parts = urlsplit(url)
        has_address = bool(parts.hostname) and parts.port != 0
    except ValueError:  # no IPv6 address, or no port
        return False
    return has_address and not parts.query and not parts.fragment and url.isprintable() and " " not in url


def _predict(server: Server, classes: tuple[str, ...], table: Any) -> Outputs:
    body = v2_body(table, server.inputs) if server.protocol == "v2" else _table_body(table, server.protocol)
    answer = server.client.call("POST", server.url, body)
    try:
        labels, shares = _v2_answers(answer) if server.protocol == "v2" else _predictions(answer)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise AnswerError(
            f"{shown(server.url)} answered in another form than the protocol {server.protocol} has; check "
            "model.path and model.protocol"
        ) from error
    if labels is None or not classes:
        return read_answers(shares if labels is None else labels, classes)
    if shares is None:
        return read_answers(labels, classes)
    return Outputs(class_ids(labels, classes), read_answers(shares, classes).probabilities)


def _table_body(table: Any, protocol: str) -> dict[str, Any]:
    columns = [_json_values(table[name]) for name in table.columns]
    split = {"columns": list(table.columns), "data": list(map(list, zip(*columns, strict=True)))}
    return {"dataframe_split": split} if protocol == "mlflow" else split


def v2_body(table: Any, inputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a request of the Open Inference Protocol: one tensor, or one a column.

    Args:
        table: a DataFrame.
        inputs: inputs that the server describes; none if it does not.
    """
    if len(inputs) == 1 and inputs[0]["name"] not in table.columns:
        columns = [_json_values(table[name]) for name in table.columns]
        data = [value for row in zip(*columns, strict=True) for value in row]
        tensor = {"name": inputs[0]["name"], "shape": list(table.shape), "datatype": inputs[0]["datatype"]}
        return {"inputs": [{**tensor, "data": data}]}
    described = {entry["name"]: entry for entry in inputs}
    return {"inputs": [_v2_input(table[name], str(name), described.get(name, {})) for name in table.columns]}


def _v2_input(series: Any, name: str, described: Mapping[str, Any]) -> dict[str, Any]:
    flat = len(described.get("shape", (0, 0))) == 1
    return {
        "name": name,
        "shape": [len(series)] if flat else [len(series), 1],
        "datatype": described.get("datatype") or V2_TYPES.get(str(series.dtype), "BYTES"),
        "data": _json_values(series),
    }


def _json_values(series: Any) -> list[Any]:
    """Return values as JSON has them: null for NaN, ISO 8601 for times."""
    values = series.astype(object).tolist()
    return [
        None
        if value is None or value != value or (isinstance(value, float) and math.isinf(value))
        else (value.isoformat() if hasattr(value, "isoformat") else value)
        for value in (v.item() if isinstance(v, np.generic) else v for v in values)
    ]


def _predictions(answer: Any) -> tuple[Any, Any]:
    """Return labels or numbers, and probabilities, of a plain answer; None for what it does not have."""
    if isinstance(answer, dict):
        labels, shares = answer.get("predictions"), answer.get("probabilities")
        if labels is None and shares is None:
            raise KeyError("predictions")
    else:
        labels, shares = answer, None
    if isinstance(labels, list) and labels and isinstance(labels[0], dict):
        labels = [list(row.values()) for row in labels]
    return (
        None if labels is None else _rectangle(labels),
        None if shares is None else _rectangle(shares),
    )


def _rectangle(values: Any) -> Any:
    if not isinstance(values, list):
        raise TypeError("no list")
    return np.asarray(values)


def _v2_answers(answer: Any) -> tuple[Any, Any]:
    labels = shares = None
    for output in answer["outputs"]:
        rows = int(output["shape"][0])
        data = np.asarray(output["data"])
        table = data.reshape(rows, -1) if data.size else data
        if table.ndim == 2 and table.shape[1] == 1:
            table = table[:, 0]
        is_number = str(output["datatype"]).startswith(("FP", "BF"))
        if is_number and shares is None:
            shares = table.astype(np.float64)
        elif not is_number and labels is None:
            labels = table
    if labels is None and shares is None:
        raise KeyError("outputs")
    return labels, shares
