"""Picture of a backtest with Matplotlib, for notebooks and papers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from driftbell.degradation.metric_texts import METRIC_NAMES, SHARES
from driftbell.errors import MissingExtraError
from driftbell.phrases import count_of, printable
from driftbell.publish.backtest_charts import (
    ALARM,
    CHANGE,
    ESTIMATED,
    LEVELS,
    MAX_NAME,
    PALE,
    performance_range,
)
from driftbell.publish.backtest_view import BacktestView, backtest_view
from driftbell.records import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from driftbell.simulation.backtest_checks import Backtest

REALIZED = "#333333"
ALARM_LABEL = "alarm"
WIDTH, PERFORMANCE_HEIGHT, ROW_HEIGHT, MARGIN = 11.0, 3.0, 0.27, 1.1
"""Sizes in inches."""

MAX_MARKED = 80
"""Points up to which each one is marked on a line."""


def backtest_figure(backtest: Backtest) -> Figure:
    """Draw performance with its thresholds, the drift of each column, alarms and change points.

    A cell of the heat map is pale where the change is not significant, and a dotted line where a column was
    not compared.

    The first axes have the performance, if there is any; the next ones the heat map, if a column was
    compared.

    Args:
        backtest: the backtest; checks that are missing are computed.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingExtraError("Backtest.plot()", "plot") from error
    view = backtest_view(backtest)
    heights = [PERFORMANCE_HEIGHT] if view.has_performance else []
    heights += [ROW_HEIGHT * len(view.rows) + 0.2] if view.rows else []
    figure = Figure(figsize=(WIDTH, sum(heights) + MARGIN), layout="constrained")
    if not heights:
        figure.text(0.5, 0.5, "no column was compared", ha="center")
        return figure
    panels: Any = figure.subplots(
        len(heights), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights}
    )[:, 0]
    if view.has_performance:
        _draw_performance(panels[0], view)
    if view.rows:
        _draw_heat_map(figure, panels[-1], view)
    for axes in panels:
        _draw_marks(axes, view, areas=axes is panels[0])
    _draw_time_axis(panels[-1], view)
    figure.suptitle(view.sentence, fontsize="medium")
    if view.has_performance or view.alarms:
        _draw_legend(figure, panels[0])
    return figure


def _draw_legend(figure: Figure, axes: Axes) -> None:
    """Draw the legend below the axes, where it covers nothing; its areas are darker than those of alarms."""
    legend = figure.legend(
        *axes.get_legend_handles_labels(), fontsize="small", loc="outside lower center", ncols=6
    )
    for handle in legend.legend_handles:
        if handle is not None and handle.get_label() == ALARM_LABEL:
            handle.set_alpha(0.45)


def _draw_time_axis(axes: Axes, view: BacktestView) -> None:
    """Set as many labels as there is room for."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.ticker import MaxNLocator

    if not view.timed:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
        return
    locator = AutoDateLocator(minticks=3, maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def _edges(view: BacktestView) -> list[Any]:
    """Return the left ends of the points and the right end of the last."""
    last = view.points[-1]
    return [_position(p.start, view) for p in view.points] + [_position(max(last.end, last.start + 1), view)]


def _position(value: float, view: BacktestView) -> Any:
    return datetime.fromtimestamp(value, UTC) if view.timed else value


def _middles(view: BacktestView) -> list[Any]:
    starts = [p.start for p in view.points]
    ends = [*starts[1:], max(view.points[-1].end, starts[-1] + 1)]
    return [_position((a + b) / 2, view) for a, b in zip(starts, ends, strict=True)]


def _draw_performance(axes: Axes, view: BacktestView) -> None:
    xs = _middles(view)
    marker = "o" if len(xs) <= MAX_MARKED else ""
    series = (
        ("estimated (90 % interval)", ESTIMATED, "--", [p.estimated for p in view.points]),
        ("realized (90 % interval)", REALIZED, "-", [p.realized for p in view.points]),
    )
    for label, color, style, intervals in series:
        if any(intervals):
            values = _numbers(intervals, "value")
            axes.plot(xs, values, style, color=color, marker=marker, markersize=3, label=label)
            low, high = _numbers(intervals, "low"), _numbers(intervals, "high")
            axes.fill_between(xs, low, high, color=color, alpha=0.15, linewidth=0)
    if view.reference is not None and view.threshold is not None:
        axes.axhline(view.reference, color="#777777", linestyle=":", label="reference")
        axes.axhline(
            view.threshold, color=ALARM, linestyle="--", linewidth=1, label="threshold (smallest loss)"
        )
    axes.set_ylim(*performance_range(view))
    axes.set_ylabel(METRIC_NAMES[view.metric])
    if view.metric in SHARES:
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")


def _numbers(intervals: Sequence[Interval | None], name: str) -> list[float]:
    return [math.nan if i is None else getattr(i, name) for i in intervals]


def _draw_heat_map(figure: Figure, axes: Axes, view: BacktestView) -> None:
    from matplotlib.colors import BoundaryNorm

    distances = [[math.nan if d is None else d for d in row.distances] for row in view.rows]
    edges = _edges(view)
    mesh = axes.pcolormesh(
        edges, range(len(view.rows) + 1), distances, cmap="Reds", norm=BoundaryNorm([0.0, *LEVELS], 256)
    )
    opacity: Any = [[PALE if is_noise else 1.0 for is_noise in row.noise] for row in view.rows]
    mesh.set_alpha(opacity)
    drifted = [
        (k, i) for k, row in enumerate(view.rows) for i, is_drifted in enumerate(row.drifted) if is_drifted
    ]
    if drifted:
        starts, ends = [edges[i] for _, i in drifted], [edges[i + 1] for _, i in drifted]
        axes.hlines([k + 0.93 for k, _ in drifted], starts, ends, color="black", linewidth=1.5)
    gaps = [(k, i) for k, row in enumerate(view.rows) for i, d in enumerate(row.distances) if d is None]
    if gaps:
        starts, ends = [edges[i] for _, i in gaps], [edges[i + 1] for _, i in gaps]
        axes.hlines([k + 0.5 for k, _ in gaps], starts, ends, color="0.5", linewidth=0.8, linestyle=":")
    names = [printable(row.column, MAX_NAME).replace("$", r"\$") for row in view.rows]
    axes.set_yticks([k + 0.5 for k in range(len(names))], names)
    axes.invert_yaxis()
    more = f"; not shown: {count_of(view.other_columns, 'more column')}" if view.other_columns else ""
    axes.set_xlabel(f"{'time (UTC)' if view.timed else 'row'}{more}")
    figure.colorbar(mesh, ax=axes, label="distance", pad=0.01, fraction=0.03)


def _draw_marks(axes: Axes, view: BacktestView, *, areas: bool) -> None:
    """Mark alarms as areas, and change points as dashed lines."""
    for i, alarm in enumerate(view.alarms if areas else ()):
        start, end = _position(alarm.start, view), _position(max(alarm.end, alarm.start), view)
        axes.axvspan(start, end, color=ALARM, alpha=0.12, linewidth=0, label="" if i else ALARM_LABEL)
    changes = [alarm.change for alarm in view.alarms if alarm.change]
    for i, change in enumerate(changes):
        label = "" if i else "change point"
        axes.axvline(_position(change[0], view), color=CHANGE, linestyle=(0, (3, 3)), label=label)
    axes.set_xlim(_edges(view)[0], _edges(view)[-1])
