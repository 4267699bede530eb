"""What a server process loads at its start, also while the store fails."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import joblib
import pytest
from tests.contract.test_versions import champion
from tests.init_tables import FRAME, churn

from driftbell.config.settings import Settings, load
from driftbell.errors import ModelError, StoreError
from driftbell.store.sql import SqlStore
from driftbell.testing import memory_store
from driftbell.wiring.add_version import AddOptions, add_version
from driftbell.wiring.model import open_serving_model
from driftbell.wiring.served_versions import version_source
from driftbell.wiring.store import clock
from driftbell.wiring.versions import settings_of_version


@pytest.fixture
def store() -> Iterator[SqlStore]:
    opened = memory_store()
    yield opened
    opened.close()


@pytest.fixture
def settings(store: SqlStore, tmp_path: Path) -> Settings:
    """Settings that name the first of two registered versions."""
    FRAME.to_csv(tmp_path / "held_out.csv", index=False)
    values = {"data_dir": tmp_path / "data", "model.name": "churn", "model.engine": "native"}
    base = load(environment={}, overrides=values).settings
    for name, rate in (("a", 1.0), ("b", 0.1)):
        joblib.dump(churn().set_params(logisticregression__C=rate).fit(FRAME, FRAME.churned), tmp_path / name)
        (tmp_path / name).rename(tmp_path / f"{name}.joblib")
        options = AddOptions(tmp_path / f"{name}.joblib", "ada", reference=tmp_path / "held_out.csv")
        added = add_version(base, store.versions, options, now=clock(), trust=lambda _: True)
        if name == "a":
            first = settings_of_version(base, store.versions, added.version)
    return first.model_copy(update={"data_dir": base.data_dir})


def test_the_champion_is_loaded_first_and_reported(store: SqlStore, settings: Settings) -> None:
    configured = open_serving_model(settings)
    second, first = (v.version for v in store.versions.newest(model="churn"))
    source = version_source(settings, store.versions, configured)
    assert [m.version for m in source.models] == [first]
    change = champion(second, model="churn", configured=first, active_from=clock())
    store.versions.set_alias(change)
    source = version_source(settings, store.versions, configured)
    assert [m.version for m in source.models] == [second, first]
    ready = {w.id: w.ready for w in store.versions.workers(clock() - timedelta(seconds=60), model="churn")}
    assert set(ready[source.worker]) == {first, second}
    assert source.open(first) is configured
    with pytest.raises(ModelError, match="version none of churn is not registered"):
        source.open("none")


def test_an_upcoming_champion_is_loaded_too(store: SqlStore, settings: Settings) -> None:
    configured = open_serving_model(settings)
    second, first = (v.version for v in store.versions.newest(model="churn"))
    store.versions.settle(first, clock(), model="churn")
    soon = champion(second, model="churn", configured=first, active_from=clock() + timedelta(seconds=60))
    store.versions.set_alias(soon)
    source = version_source(settings, store.versions, configured)
    assert [m.version for m in source.models] == [first, second]


@pytest.mark.parametrize("method", ["report_worker", "settle", "state", "get"])
def test_without_the_store_the_model_of_the_settings_serves(
    method: str, store: SqlStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured = open_serving_model(settings)
    second, first = (v.version for v in store.versions.newest(model="churn"))
    store.versions.set_alias(champion(second, model="churn", configured=first, active_from=clock()))

    def fail(*_: Any, **__: Any) -> None:
        raise StoreError("the database is down")

    monkeypatch.setattr(store.versions, method, fail)
    source = version_source(settings, store.versions, configured)
    assert [m.version for m in source.models] == [first]


def test_a_champion_that_cannot_be_loaded_stops_the_start(store: SqlStore, settings: Settings) -> None:
    configured = open_serving_model(settings)
    gone = champion("gone", model="churn", configured=configured.version, active_from=clock())
    store.versions.set_alias(gone)
    with pytest.raises(ModelError, match=r"champion gone cannot be loaded: .* `driftbell models rollback`"):
        version_source(settings, store.versions, configured)
