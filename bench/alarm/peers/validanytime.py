"""ValidAnytime's detectors, offline: the e-processes of its page tier, and the CUSUM of its warn tier.

The metric is the mean error of 50 labelled rows, as its rolling quantiles need a history of about a hundred
values. The configuration is the one that it suggests for the history, with the budget as average run length;
if that pages on the history, the run length is ten times as long, as in its own fallback. The product is a
hosted service; this is its own port for offline use.
"""

from __future__ import annotations

from dataclasses import replace

from validanytime_detectors import CUSUM_H_ARL_2000, EngineConfig, cusum_events, replay_series, suggest_config

from alarm.peer import Array, Peer, Reference, Verdict, Window

ROWS_A_VALUE = 50
FALLBACK = 10


class Metric(Peer):
    """A metric of the stream of errors, value by value."""

    modes = ("all", "late")

    def fit(self, reference: Reference) -> None:
        self.rest: list[float] = []
        self.values = self.means(reference.errors)
        self.history = len(self.values)
        values_a_check = max(reference.labels_a_check / ROWS_A_VALUE, 0.01)
        self.configure(values_a_check / reference.false_alarms_a_check)

    def configure(self, run_length: float) -> None:
        """Configure the detector for an average run length in values."""

    def means(self, errors: Array) -> list[float]:
        """Return the means of the next rows; rows that are too few wait for the next call."""
        rows = [*self.rest, *errors.tolist()]
        whole = len(rows) // ROWS_A_VALUE * ROWS_A_VALUE
        self.rest = rows[whole:]
        return [sum(rows[i : i + ROWS_A_VALUE]) / ROWS_A_VALUE for i in range(0, whole, ROWS_A_VALUE)]


class Page(Metric):
    """The page tier: alarm while an e-process is above its threshold."""

    name = "ValidAnytime, page tier"
    package = "validanytime-detectors"

    def configure(self, run_length: float) -> None:
        self.config = limited(suggest_config(self.values), run_length)
        if any(monitor.first_fire_seq for monitor in replay_series(self.values, self.config).monitors):
            self.config = limited(self.config, FALLBACK * run_length)

    def check(self, window: Window) -> Verdict:
        before = len(self.values)
        self.values += self.means(window.errors)
        monitors = replay_series(self.values, self.config).monitors
        new = slice(min(before, len(self.values) - 1), None)  # without a new value, the last state
        alarm = any(any(monitor.alarm[new]) for monitor in monitors)
        return Verdict(alarm, max(max(m.log_stat[new]) - m.threshold for m in monitors))


class Warn(Metric):
    """The warn tier, which has no budget: alarm when the CUSUM of its gate exceeds its threshold."""

    name = "ValidAnytime, warn tier"
    package = "validanytime-detectors"

    def check(self, window: Window) -> Verdict:
        before = len(self.values)
        self.values += self.means(window.errors)
        result = cusum_events(self.values, h=CUSUM_H_ARL_2000)
        alarm = any(event > before for event in result.events)
        return Verdict(alarm, max(result.statistic[min(before, len(self.values) - 1) :]))


def limited(config: EngineConfig, run_length: float) -> EngineConfig:
    """Return a configuration with an average run length for its e-detector."""
    monitors = tuple(
        {**monitor, "arl_target": run_length} if monitor["kind"] == "e_detector" else monitor
        for monitor in config.monitors
    )
    return replace(config, monitors=monitors)
