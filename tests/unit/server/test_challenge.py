"""Each request is answered by one version: by chance, or by a key that stays on its version."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from tests.contract.builders import NOW
from tests.contract.test_versions import challenger

from driftbell.records import Value
from driftbell.server.challenge import ServedVersion, share_of
from driftbell.server.deployment import Deployment
from driftbell.tabular.schema import infer_schema
from driftbell.testing import FakeModel, ManualClock

COLUMNS: dict[str, Any] = {
    "customer": [1.0, 2.0, None],
    "age": [31.0, 52.0, 40.0],
    "city": ["Bern", "Chur", "Bern"],
}
N = 4000


def model(version: str, order: tuple[str, ...] = tuple(COLUMNS)) -> FakeModel:
    schema = infer_schema({name: COLUMNS[name] for name in order})
    return FakeModel(schema, ["no", "yes"], lambda table: table["age"] > 40, version=version)


def deployment(*models: FakeModel, clock: Callable[[], Any] = lambda: NOW) -> Deployment:
    part: Any = lambda *_: SimpleNamespace(shadow=None)  # noqa: E731 - no test here uses these parts
    return Deployment(*models, predictor=part, refusals=part, shadow=part, clock=clock)


def challenged(share: float, sticky: str = "", second: FakeModel | None = None) -> Deployment:
    opened = deployment(model("v1"), second or model("v2"))
    opened.switch("v1", challenger(share=share, is_shadow=False, sticky=sticky))
    return opened


def scope(**headers: str) -> dict[str, Any]:
    return {"headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]}


def version_of(served: ServedVersion) -> str:
    return served.model.version


def test_without_a_challenger_one_attribute_is_the_version() -> None:
    opened = deployment(model("v1"), model("v2"))
    assert opened.sole is opened.served
    opened.switch("v2")
    assert version_of(opened.choose({})) == "v2"
    assert opened.sole is opened.served


def test_chance_has_the_share_within_its_bounds() -> None:
    opened = challenged(0.2)
    assert opened.sole is None
    count = sum(version_of(opened.choose(scope())) == "v2" for _ in range(N))
    assert abs(count - 0.2 * N) < 5 * math.sqrt(N * 0.2 * 0.8)


def test_a_header_stays_on_its_version_and_with_the_challenger_as_the_share_grows() -> None:
    groups = []
    for share in (0.1, 0.3, 0.9):
        opened = challenged(share, "header:x-user")
        group = {n for n in range(N) if version_of(opened.choose(scope(x_user=f"user {n}"))) == "v2"}
        assert group == {n for n in range(N) if share_of(f"user {n}".encode(), "v2") < share}
        assert abs(len(group) - share * N) < 5 * math.sqrt(N * share * (1 - share))
        groups.append(group)
    assert groups[0] < groups[1] < groups[2]
    assert version_of(opened.choose(scope(x_other="user"))) == "v1"
    assert version_of(opened.choose(scope(x_user=""))) == "v1"


def test_each_challenger_orders_the_keys_anew() -> None:
    both = sum(share_of(b"%d" % n, "v2") < 0.5 and share_of(b"%d" % n, "v3") < 0.5 for n in range(N))
    assert abs(both - N / 4) < 5 * math.sqrt(N * 3 / 16)


@pytest.mark.parametrize("order", [tuple(COLUMNS), ("city", "customer", "age")])
def test_a_feature_decides_when_the_rows_are_read(order: tuple[str, ...]) -> None:
    opened = challenged(0.5, "feature:customer", model("v2", order))
    served = opened.choose(scope())
    assert version_of(served) == "v1"
    assert served.choose
    for customer in range(200):
        row: list[Value] = [float(customer), 35.0, "Bern"]
        version, rows = served.choose([row])
        assert version_of(version) == ("v2" if share_of(b"%d" % customer, "v2") < 0.5 else "v1")
        by_name = dict(zip(version.model.schema.names, rows[0], strict=True))
        assert by_name == dict(zip(COLUMNS, row, strict=True))
    keys = [float(n) for n in range(200) if share_of(b"%d" % n, "v2") < 0.5][:2]
    same: list[list[Value]] = [[key, 35.0, "Bern"] for key in (keys[0], keys[0])]
    other: list[list[Value]] = [[key, 35.0, "Bern"] for key in keys]
    assert version_of(served.choose(same)[0]) == "v2"
    assert served.choose(other) == (opened.served, other)  # rows with several keys
    assert version_of(served.choose([[None, 35.0, "Bern"]])[0]) == "v1"


def test_a_challenger_begins_and_ends_at_its_time() -> None:
    clock = ManualClock(NOW)
    opened = deployment(model("v1"), model("v2"), clock=clock)
    terms = challenger(share=0.999999, is_shadow=False, sticky="")
    opened.schedule((NOW + timedelta(seconds=2), "v1", terms))
    assert version_of(opened.choose(scope())) == "v1"
    clock.now += timedelta(seconds=2)
    assert {version_of(opened.choose(scope())) for _ in range(20)} == {"v2"}
    assert (opened.challenger, opened.model.version) == (terms, "v1")
    opened.schedule((NOW + timedelta(seconds=4), "v2", None))
    assert {version_of(opened.choose(scope())) for _ in range(20)} == {"v2"}
    clock.now += timedelta(seconds=2)
    assert version_of(opened.choose(scope())) == "v2"
    assert (opened.challenger, opened.sole) == (None, opened.served)


def test_a_switch_that_is_cancelled_does_not_happen() -> None:
    clock = ManualClock(NOW)
    opened = deployment(model("v1"), model("v2"), clock=clock)
    opened.schedule((NOW + timedelta(seconds=2), "v2", None))
    opened.schedule(None)
    clock.now += timedelta(seconds=3)
    assert version_of(opened.choose({})) == "v1"
    assert opened.sole is opened.served


def test_a_challenger_stays_loaded() -> None:
    opened = challenged(0.5)
    for name in ("v3", "v4", "v5"):
        opened.add(model(name), frozenset())
    assert set(opened.loaded) == {"v1", "v2", "v5"}


def test_a_shadow_answers_nobody() -> None:
    opened = deployment(model("v1"), model("v2"))
    opened.switch("v1", challenger(share=1.0, sticky=""))
    assert opened.sole is opened.served
    shadow: Any = opened.served.predictor.shadow
    opened.switch("v2")
    assert shadow.is_over
    assert [version.predictor.shadow for version in opened._loaded.values()] == [None, None]
