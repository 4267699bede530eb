"""The components of a running stack, and the findings of the doctor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

DEFAULT_LOGIN = ("admin", "admin")


class State(StrEnum):
    """State of a component."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check.

    Attributes:
        component: the component that was checked.
        state: its state.
        message: the facts.
        fix: what to do if the state is wrong, otherwise "".
    """

    component: str
    state: State
    message: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Stack:
    """URLs of the components; None skips one.

    Attributes:
        service: the prediction service.
        prometheus: Prometheus.
        loki: Loki.
        grafana: Grafana.
        reports: the report viewer.
        alertmanager: Alertmanager.
        alertmanager_wanted: whether a missing Alertmanager is an error.
        unnamed: components at their default URL that nobody named; they are skipped if none of them answers.
        login: Grafana's user and password.
        token: Grafana's token, instead of the login.
        service_headers: headers for the service, such as an API key.
    """

    service: str | None
    prometheus: str | None
    loki: str | None
    grafana: str | None
    reports: str | None
    alertmanager: str | None
    alertmanager_wanted: bool = False
    unnamed: frozenset[str] = frozenset()
    login: tuple[str, str] = field(default=DEFAULT_LOGIN, repr=False)
    token: str | None = field(default=None, repr=False)
    service_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
