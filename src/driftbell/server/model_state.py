"""The state of a model of the service, for `/health` and the first page."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from typing import Any

from driftbell.errors import DriftbellError, StoreError
from driftbell.server.api.monitor import MonitorView
from driftbell.server.deployment import Deployment
from driftbell.server.http.prefix import service_prefix
from driftbell.server.predict.journal_writer import JournalWriter

UNKNOWN = "unknown"


class ModelState:
    """The state of one model.

    Args:
        deployment: has the served version.
        writer: writes its predictions.
        view: reads its checks.
        spools: whether the service predicts while the store cannot be reached.
    """

    def __init__(
        self, deployment: Deployment, writer: JournalWriter, view: MonitorView, *, spools: bool
    ) -> None:
        self._deployment = deployment
        self._writer = writer
        self._view = view
        self._spools = spools

    def require_ready(self) -> dict[str, Any]:
        """Return the served version and the monitor's state.

        Raises:
            StoreError, OverloadedError: the model cannot predict, or its predictions cannot be recorded.
        """
        monitor = UNKNOWN
        served = self._deployment.current()
        served.predictor.check()
        if self._writer.check():
            with suppress(StoreError) if self._spools else nullcontext():
                monitor = self._view.monitor()
        model = served.model
        return {"status": "ready", "model": model.name, "version": model.version, "monitor": monitor}

    def health(self) -> dict[str, Any]:
        """Return the same without the model's name; of one that is not ready, the reason."""
        try:
            state = self.require_ready()
        except DriftbellError as error:
            detail = error.public if isinstance(error, StoreError) else str(error)
            return {"status": "not ready", "detail": detail}
        del state["model"]
        return state

    def overview(self, name: str) -> dict[str, Any]:
        """Return the verdict of the last check, for a list of models.

        Args:
            name: name of the model.
        """
        model = self._deployment.model
        view = {"name": name, "version": model.version, "url": f"{service_prefix()}/models/{name}/"}
        try:
            last = self._view.last_check()
            alarm = self._view.store.alarms.current(model=model.name, version=model.version)
            monitor = self._view.monitor()
        except StoreError:
            return {**view, "verdict": UNKNOWN, "alarm": None, "checked": None, "monitor": UNKNOWN}
        return {
            **view,
            "verdict": last.judgement.verdict.value if last else UNKNOWN,
            "alarm": alarm and alarm.id,
            "checked": last and last.time.isoformat(),
            "monitor": monitor,
        }
