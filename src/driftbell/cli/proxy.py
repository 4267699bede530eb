"""Command proxy."""

from __future__ import annotations

from pathlib import Path

import click

from driftbell.cli.root import begin, cli, common, settings
from driftbell.process.stop_signal import end_at_stop

DEFAULT_PORT = 8001
"""The service itself listens on 8000."""


@cli.command()
@common
@click.option("--upstream", required=True, metavar="URL", help="The model's server.")
@click.option(
    "--protocol",
    type=click.Choice(["json", "mlflow", "v2"]),
    default="json",
    show_default=True,
    help="Plain JSON; MLflow's /invocations and KServe's V1; or the Open Inference Protocol V2.",
)
@click.option("--path", help="Path of the requests that predict [default: the protocol's].")
@click.option("--features", metavar="FIELD", help="Field of a JSON request with the features.")
@click.option("--prediction", metavar="FIELD", help="Field of a JSON answer with the prediction.")
@click.option("--probabilities", metavar="FIELD", help="Field of a JSON answer with the probabilities.")
@click.option("--id", "own_id", metavar="FIELD", help="Field of a JSON request or answer with your own id.")
@click.option(
    "--metadata",
    metavar="FIELD",
    multiple=True,
    help="Field of a JSON request that is stored with the prediction; may be repeated.",
)
@click.option("--id-header", metavar="NAME", default="", help="Header of a request with your own id.")
@click.option("--host", help="Address to listen on [default: 127.0.0.1].")
@click.option("--port", type=int, default=DEFAULT_PORT, show_default=True, help="Port to listen on.")
def proxy(
    config_file: Path | None,
    data_dir: str | None,
    parent: int | None,
    upstream: str,
    protocol: str,
    path: str | None,
    features: str | None,
    prediction: str | None,
    probabilities: str | None,
    own_id: str | None,
    metadata: tuple[str, ...],
    id_header: str,
    host: str | None,
    port: int,
) -> None:
    """Pass requests to a model's server, and record its predictions.

    Every request is passed on as it is, and its answer too. Those that predict are read after the answer and
    recorded for `driftbell up` or `driftbell monitor` on the same data folder or database; the settings are
    those of a model that is served elsewhere. Nothing that goes wrong with recording reaches the answer.

    \b
    Examples:
      driftbell proxy --upstream http://127.0.0.1:5000 --protocol mlflow
      driftbell proxy --upstream http://127.0.0.1:9000 --path /score --prediction decision --id order
    """
    end_at_stop()
    loaded = settings(config_file, data_dir=data_dir, server__host=host, server__port=port)
    begin(parent, loaded.settings)
    from driftbell.data_folder import mark_in_use
    from driftbell.tabular.exchanges import JsonFields
    from driftbell.wiring.proxy import ProxyOptions, run_proxy

    fields = JsonFields(features, prediction, probabilities, own_id, metadata)
    with mark_in_use(loaded.settings.data_dir):
        run_proxy(loaded.settings, ProxyOptions(upstream, protocol, path, fields, id_header))
