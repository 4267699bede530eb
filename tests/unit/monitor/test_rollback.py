"""The monitor ends a challenge when the challenger is certainly worse by more than the smallest loss."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.life import NOON, model

from driftbell.alarms.smallest_loss import SmallestLoss
from driftbell.errors import LeaseLostError
from driftbell.models.challenge import last_rollback
from driftbell.monitor.rollback import ChallengeGuard
from driftbell.publish.notify import format_message
from driftbell.records import Label, Prediction, ShadowPrediction, Verdict
from driftbell.records.versions import CHALLENGER, CHAMPION, MONITOR_AUTHOR, AliasChange
from driftbell.store.sqlite import open_sqlite
from driftbell.testing import FakeModel


class Challenge:
    """A champion v1 and its challenger v2, whose labels arrive in turn."""

    def __init__(self, path: Path) -> None:
        self.store = open_sqlite(path)
        self.now, self.rows = NOON, 0
        self.rng = np.random.default_rng(0)
        self.model = model()
        lease = self.store.coordination.take_lease("a", now=NOON, seconds=30, next_run=None)
        assert lease
        self.lease = lease
        self.alias(CHAMPION, "v1", NOON - timedelta(days=9))

    def alias(self, alias: str, version: str | None, since: datetime | None = None, **traffic: Any) -> None:
        change = AliasChange("m", alias, version, since or self.now, "ada", "a test", "v1", **traffic)
        self.store.versions.set_alias(change)

    def start(self, **traffic: Any) -> None:
        self.alias(CHALLENGER, "v2", **{"share": 0.5, "is_rollback": True, **traffic})

    def pairs(self, rows: int, accuracies: tuple[float, float], *, labelled: bool = True) -> list[Label]:
        """Predict with both versions in turn, and send the labels; return labels that were not sent."""
        self.now += timedelta(minutes=5)
        right = self.rng.random((rows, 2)) < accuracies
        outputs = [("v1", "v2")[i % 2] for i in range(2 * rows)]
        rights = right.reshape(-1).tolist()
        return self._add(outputs, ["old" if one else "young" for one in rights], ["old"] * 2 * rows, labelled)

    def _add(self, versions: list[str], outputs: list[str], labels: list[str], sent: bool) -> list[Label]:
        ids = [f"id{self.rows + i:06}" for i in range(len(versions))]
        self.rows += len(ids)
        self.store.predictions.append(
            [
                Prediction(one, self.now, "m", version, {"age": 1.0}, output, {}, 1.0)
                for one, version, output in zip(ids, versions, outputs, strict=True)
            ]
        )
        new = [Label(one, label, self.now) for one, label in zip(ids, labels, strict=True)]
        return new if not sent else self.send(new)

    def send(self, labels: list[Label]) -> list[Label]:
        self.store.labels.add(labels)
        return []

    def numbers(self, rows: int, errors: tuple[float, float]) -> None:
        """As `pairs`, of a regression, with the given mean absolute errors."""
        self.now += timedelta(minutes=5)
        noise = self.rng.uniform(0, 2, (rows, 2)) * errors
        versions = ["v1", "v2"] * rows
        self._add(versions, [str(10 + v) for v in noise.reshape(-1)], ["10"] * 2 * rows, True)

    def shadows(self, rows: int, accuracies: tuple[float, float]) -> None:
        """Predict with the champion, and copies with the shadow; send the labels."""
        self.now += timedelta(minutes=5)
        first = self.rows
        right = self.rng.random((rows, 2)) < accuracies
        outputs = [["old" if one else "young" for one in side] for side in right.T]
        self._add(["v1"] * rows, outputs[0], ["old"] * rows, True)
        self.store.shadows.append(
            [
                ShadowPrediction(f"id{first + i:06}", self.now, "m", "v2", output, {}, 1.0)
                for i, output in enumerate(outputs[1])
            ]
        )

    def look(self, loss: SmallestLoss = SmallestLoss(), **options: Any) -> bool:
        guard = ChallengeGuard(self.store, loss, notifies=True)
        state = options.pop("state", None) or self.store.versions.state(self.now, model="m")
        return guard.look(state, self.model, self.now, options.pop("lease", self.lease))

    def ended(self) -> AliasChange | None:
        return last_rollback(self.store.versions, model="m")

    def is_running(self) -> bool:
        return self.store.versions.state(self.now, model="m").challenger is not None


@pytest.fixture
def challenge(tmp_path: Path) -> Iterator[Challenge]:
    opened = Challenge(tmp_path / "log.sqlite")
    yield opened
    opened.store.close()


def test_a_worse_challenger_is_ended_once_with_its_numbers(challenge: Challenge) -> None:
    challenge.start()
    challenge.pairs(1500, (0.9, 0.7))
    assert challenge.look()
    end = challenge.ended()
    assert end is not None
    assert (end.version, end.author, end.active_from) == (None, MONITOR_AUTHOR, challenge.now)
    assert end.reason.startswith("v2 performs worse than v1, by ")
    text = "smallest loss of 2.0 points, on 1,500 labels of the champion and 1,500 of the challenger."
    assert end.reason.endswith(text), end.reason
    assert not challenge.is_running()
    assert challenge.store.versions.rollbacks(model="m") == 1
    [delivery] = challenge.store.notifications.pending()
    title, body = format_message(delivery.notification, None)
    assert title == "driftbell: m rollback"
    assert end.reason in body
    assert "version v2" in body
    assert not challenge.look()  # of a restarted monitor
    assert len(challenge.store.notifications.pending()) == 1


def test_its_notification_is_no_change_of_state(challenge: Challenge) -> None:
    challenge.start()
    challenge.pairs(1500, (0.9, 0.7))
    challenge.look()
    assert challenge.store.notifications.last(model="m", version="v2") is None
    [delivery] = challenge.store.notifications.pending()
    assert delivery.notification.verdict is Verdict.WARNING


def test_without_labels_nobody_can_tell_yet(challenge: Challenge) -> None:
    challenge.start()
    assert not challenge.look()
    late = challenge.pairs(1500, (0.9, 0.7), labelled=False)
    assert not challenge.look()
    assert challenge.is_running()
    challenge.now += timedelta(days=3)
    challenge.send(late)
    assert challenge.look()


@pytest.mark.parametrize("accuracy", [0.9, 0.885, 0.95])
def test_a_challenger_that_is_not_worse_by_the_smallest_loss_stays(
    challenge: Challenge, accuracy: float
) -> None:
    challenge.start()
    for _ in range(10):
        challenge.pairs(300, (0.9, accuracy))
        assert not challenge.look()


def test_a_larger_smallest_loss_keeps_a_worse_challenger(challenge: Challenge) -> None:
    challenge.start()
    challenge.pairs(1500, (0.9, 0.7))
    assert not challenge.look(SmallestLoss(0.3))
    assert challenge.look(SmallestLoss(0.1))


def test_a_challenge_without_rollback_goes_on(challenge: Challenge) -> None:
    challenge.start(is_rollback=False)
    challenge.pairs(1500, (0.9, 0.5))
    assert not challenge.look()
    challenge.start(share=0.6)
    assert challenge.look()  # the labels since the version became the challenger count


def test_labels_of_an_earlier_challenge_do_not_count(challenge: Challenge) -> None:
    challenge.start(is_rollback=False)
    challenge.pairs(1500, (0.9, 0.5))
    challenge.alias(CHALLENGER, None)
    challenge.now += timedelta(minutes=1)
    challenge.start()
    assert not challenge.look()
    challenge.pairs(300, (0.9, 0.9))
    assert not challenge.look()


def test_a_promotion_meanwhile_keeps_the_next_challenge(challenge: Challenge) -> None:
    challenge.start()
    challenge.pairs(1500, (0.9, 0.7))
    before = challenge.store.versions.state(challenge.now, model="m")
    challenge.alias(CHAMPION, "v2")
    assert not challenge.look(state=before)
    challenge.alias(CHALLENGER, "v1", share=0.5)
    assert not challenge.look(state=before)
    assert challenge.is_running()
    assert challenge.ended() is None
    assert challenge.store.notifications.pending() == []


def test_a_changed_share_is_looked_at_again_when_it_is_in_force(challenge: Challenge) -> None:
    challenge.start()
    challenge.pairs(1500, (0.9, 0.7))
    challenge.alias(CHALLENGER, "v2", challenge.now + timedelta(seconds=3), share=0.6, is_rollback=True)
    assert not challenge.look()
    challenge.now += timedelta(seconds=3)
    assert challenge.look()


def test_another_monitor_that_took_over_is_the_one_that_ends_it(challenge: Challenge) -> None:
    challenge.start()
    challenge.pairs(1500, (0.9, 0.7))
    with pytest.raises(LeaseLostError):
        challenge.look(lease=replace(challenge.lease, token=9))
    assert challenge.is_running()


def test_a_worse_shadow_is_ended_by_the_rows_that_both_predicted(challenge: Challenge) -> None:
    challenge.start(share=1.0, is_shadow=True)
    challenge.shadows(900, (0.9, 0.7))
    assert challenge.look()
    end = challenge.ended()
    assert end
    assert end.reason.endswith("That is more than the smallest loss of 2.0 points, on 900 labels of both.")


def regression() -> FakeModel:
    classifier = model()
    return FakeModel(classifier.schema, (), lambda columns: columns["age"], name="m", version="v1")


@pytest.mark.parametrize(("errors", "ends"), [((1.0, 2.0), True), ((1.0, 1.05), False), ((1.0, 0.5), False)])
def test_a_regression_is_compared_by_its_error(
    challenge: Challenge, errors: tuple[float, float], ends: bool
) -> None:
    challenge.model = regression()
    challenge.start()
    challenge.numbers(1500, errors)
    assert challenge.look() is ends
    assert challenge.is_running() is not ends


def test_a_damaged_label_does_not_end_the_monitor(challenge: Challenge) -> None:
    challenge.model = regression()
    challenge.start()
    challenge.pairs(20, (0.9, 0.7))  # classes are no numbers
    assert not challenge.look()
    assert challenge.is_running()
