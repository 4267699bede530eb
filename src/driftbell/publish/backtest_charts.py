"""Picture of a backtest as inline SVG: performance and drift of the columns on one time axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from driftbell.alarms.metric import SHARE_METRICS
from driftbell.degradation.metric_texts import METRIC_NAMES, SHARES
from driftbell.phrases import count_of, printable
from driftbell.publish.axis import axis_numbers, axis_times
from driftbell.publish.backtest_view import BacktestView, Point
from driftbell.publish.wording import format_metric
from driftbell.records import Interval

WIDTH, LEFT, RIGHT = 960, 190, 14
LEGEND, PLOT_HEIGHT, ROW_HEIGHT, AXIS = 40, 210, 19, 26
"""Heights in pixels of the legend, the performance, one column of the heat map, and the time axis."""

ESTIMATED, REALIZED, ALARM, CHANGE, HEAT = "#3b7dd8", "#777777", "#c8384e", "#8a5a00", "#d1495b"
"""Colors where no style sheet replaces them, as in a notebook."""

MAX_NAME = 27
MAX_DOTS = 80
"""Points up to which each one is marked on a line."""

LEVELS = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
"""Upper ends of the heat map's steps: distances as shares of the rows."""


@dataclass(frozen=True, slots=True)
class _Axes:
    """Positions in the picture: `edges` are the left ends of the points and the right end of the last."""

    x: Callable[[float], float]
    y: Callable[[float], float]
    edges: Sequence[float]
    top: float
    bottom: float
    end: float

    def middle(self, index: int) -> float:
        return (self.edges[index] + self.edges[index + 1]) / 2


def backtest_svg(view: BacktestView) -> Markup:
    """Draw performance with its thresholds, the drift of each column, alarms and change points.

    A page can restyle the classes `estimated`, `realized`, `alarm`, `change`, `heat`, `mark`, `grid` and
    `label`.

    Args:
        view: content of the picture; at least one point.
    """
    plot = PLOT_HEIGHT if view.has_performance else 0
    top = LEGEND if plot or view.alarms else 8
    heat_top = top + plot + (26 if plot and view.rows else 0)
    end = heat_top + ROW_HEIGHT * len(view.rows)
    axes = _axes(view, top, top + plot, end)
    parts = [
        Markup(
            '<svg class="backtest" role="img" viewBox="0 0 {w} {h}" width="{w}" height="{h}" font-size="11" '
            'font-family="system-ui,sans-serif"><title>{title}</title>'
        ).format(w=WIDTH, h=end + AXIS, title=_title(view)),
        _legend(view),
        _alarm_bands(view, axes),
        _performance(view, axes) if plot else "",
        _heat_map(view, axes, heat_top),
        _time_axis(view, axes),
        _changes(view, axes),
        _tooltips(view, axes),
        Markup("</svg>"),
    ]
    return Markup("").join(parts)


def _axes(view: BacktestView, top: float, bottom: float, end: float) -> _Axes:
    first, last = view.points[0].start, max(view.points[-1].end, view.points[-1].start)
    span = (last - first) or 1.0

    def x(position: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * min(1.0, max(0.0, (position - first) / span))

    low, high = performance_range(view)

    def y(value: float) -> float:
        return bottom - (bottom - top) * (value - low) / (high - low)

    edges = [*(x(p.start) for p in view.points), WIDTH - RIGHT]
    return _Axes(x, y, edges, top, bottom, end)


def performance_range(view: BacktestView) -> tuple[float, float]:
    """Return the ends of the axis of performance: all values, intervals and thresholds."""
    intervals = [i for p in view.points for i in (p.estimated, p.realized) if i is not None]
    values = [v for i in intervals for v in (i.low, i.high)]
    values += [v for v in (view.reference, view.threshold) if v is not None]
    if not values:
        return 0.0, 1.0
    pad = 0.06 * (max(values) - min(values)) or 0.05 * abs(values[0]) or 0.05
    low, high = max(0.0, min(values) - pad), max(values) + pad
    return low, min(1.0, high) if view.metric in SHARE_METRICS else high


def heat_level(distance: float) -> int:
    """Return the step of the heat map for a distance, from 0 to 7.

    >>> heat_level(0.0), heat_level(0.06), heat_level(1.0)
    (0, 2, 7)
    """
    return next((i for i, top in enumerate(LEVELS) if distance <= top), len(LEVELS) - 1)


def _title(view: BacktestView) -> str:
    performance = f"{METRIC_NAMES[view.metric]} and " if view.has_performance else ""
    return f"{performance}drift of {count_of(len(view.rows), 'column')} over time. {view.sentence}"


def _performance(view: BacktestView, axes: _Axes) -> Markup:
    low, high = performance_range(view)
    parts = Markup('<text class="label" x="6" y="{:g}" fill="#777">{}</text>').format(
        axes.top + 10, METRIC_NAMES[view.metric]
    )
    for value in axis_numbers(low, high, 6):
        parts += Markup(
            '<path class="grid" d="M{:g} {y:.1f}H{:g}" stroke="#8884" stroke-width=".6"/>'
            '<text class="label" x="{:g}" y="{yt:.1f}" text-anchor="end" fill="#777">{}</text>'
        ).format(
            LEFT,
            WIDTH - RIGHT,
            LEFT - 6,
            f"{100 * value:.4g} %" if view.metric in SHARES else f"{value:.4g}",
            y=axes.y(value),
            yt=axes.y(value) + 3.5,
        )
    levels = (("reference", view.reference, "2 3", "#777"), ("threshold", view.threshold, "7 4", ALARM))
    for name, level, dashes, color in levels:
        if level is not None:
            parts += Markup(
                '<path class="{} level" d="M{:g} {:.1f}H{:g}" stroke="{}" stroke-dasharray="{}" fill="none"/>'
            ).format(name, LEFT, axes.y(level), WIDTH - RIGHT, color, dashes)
    for name, color in (("estimated", ESTIMATED), ("realized", REALIZED)):
        intervals = [p.estimated if name == "estimated" else p.realized for p in view.points]
        parts += _line(axes, intervals, name, color)
    return parts


def _line(axes: _Axes, intervals: Sequence[Interval | None], name: str, color: str) -> Markup:
    """Draw a line with its band of intervals, interrupted where there is no value."""
    lines, bands, dots = [], [], []
    for run in _runs(intervals):
        xs = [axes.middle(i) for i in run]
        values = [v for i in run if (v := intervals[i]) is not None]
        lines.append(
            "M" + "L".join(f"{x:.1f} {axes.y(v.value):.1f}" for x, v in zip(xs, values, strict=True))
        )
        upper = [f"{x:.1f} {axes.y(v.high):.1f}" for x, v in zip(xs, values, strict=True)]
        lower = [f"{x:.1f} {axes.y(v.low):.1f}" for x, v in zip(xs, values, strict=True)]
        if len(run) > 1:
            bands.append(f"M{'L'.join([*upper, *reversed(lower)])}z")
        else:  # a single point has no area
            bands.append(
                f"M{axes.edges[run[0]]:.1f} {axes.y(values[0].high):.1f}H{axes.edges[run[0] + 1]:.1f}"
            )
            bands.append(f"V{axes.y(values[0].low):.1f}H{axes.edges[run[0]]:.1f}z")
        if len(intervals) <= MAX_DOTS or len(run) == 1:
            dots += [
                f"M{x - 2.4:.1f} {axes.y(v.value):.1f}a2.4 2.4 0 1 0 4.8 0a2.4 2.4 0 1 0 -4.8 0"
                for x, v in zip(xs, values, strict=True)
            ]
    dashes = Markup(' stroke-dasharray="5 3"') if name == "estimated" else ""
    return Markup(
        '<path class="{name} band" fill="{color}" fill-opacity=".14" d="{}"/>'
        '<path class="{name} line" fill="none" stroke="{color}" stroke-width="1.8"{} d="{}"/>'
        '<path class="{name} dots" fill="{color}" d="{}"/>'
    ).format("".join(bands), dashes, "".join(lines), "".join(dots), name=name, color=color)


def _runs(values: Sequence[object | None]) -> list[list[int]]:
    """Return the indexes of consecutive values that are not None."""
    runs: list[list[int]] = []
    for i, value in enumerate(values):
        if value is None:
            continue
        if runs and runs[-1][-1] == i - 1:
            runs[-1].append(i)
        else:
            runs.append([i])
    return runs


def _heat_map(view: BacktestView, axes: _Axes, top: float) -> Markup:
    cells: dict[tuple[int, bool], list[str]] = {}
    drifted, gaps = [], []
    names = Markup("")
    for k, row in enumerate(view.rows):
        y = top + k * ROW_HEIGHT
        names += Markup(
            '<text class="label" x="{:g}" y="{:.1f}" text-anchor="end" fill="#777">{}</text>'
        ).format(LEFT - 6, y + 13, printable(row.column, MAX_NAME))
        for i, distance in enumerate(row.distances):
            x, width = axes.edges[i], axes.edges[i + 1] - axes.edges[i]
            if distance is not None:
                shape = f"M{x:.1f} {y + 1:g}h{width:.1f}v{ROW_HEIGHT - 2}h-{width:.1f}z"
                cells.setdefault((heat_level(distance), row.noise[i]), []).append(shape)
            else:
                gaps.append(f"M{x:.1f} {y + ROW_HEIGHT / 2:g}h{width:.1f}")
            if row.drifted[i]:
                drifted.append(f"M{x:.1f} {y + ROW_HEIGHT - 2.5:g}h{width:.1f}")
    parts = names
    for (level, noise), shapes in sorted(cells.items()):
        parts += Markup('<path class="heat" fill="{}" fill-opacity="{:.3g}" d="{}"/>').format(
            HEAT, _opacity(level) * (PALE if noise else 1), "".join(shapes)
        )
    lines = Markup('<path class="drifted" stroke="#444" stroke-width="2" fill="none" d="{}"/>').format(
        "".join(drifted)
    )
    if gaps:
        lines += Markup(
            '<path class="gap" stroke="#888" stroke-width="1" stroke-dasharray="2 3" fill="none" d="{}"/>'
        ).format("".join(gaps))
    return parts + lines


MIN_OPACITY = 0.14
"""Opacity of the lowest step, also a pale one of which is no empty cell."""

PALE = 0.35
"""Opacity of a distance that is not significant, as a share of that of others."""


def _opacity(level: int) -> float:
    return MIN_OPACITY + (1 - MIN_OPACITY) * level / (len(LEVELS) - 1)


def _time_axis(view: BacktestView, axes: _Axes) -> Markup:
    first, last = view.points[0].start, view.points[-1].end
    labels = (
        axis_times(first, last)
        if view.timed
        else [(t, f"row {t:,.0f}") for t in axis_numbers(first, last, 6)]
    )
    parts = Markup('<path class="grid" d="M{:g} {y:g}H{:g}" stroke="#888" stroke-width=".8"/>').format(
        LEFT, WIDTH - RIGHT, y=axes.end
    )
    for position, label in labels:
        x = axes.x(position)
        anchor = "end" if x > WIDTH - 60 else "middle"
        parts += Markup(
            '<path class="grid" d="M{x:.1f} {:g}v4" stroke="#888" stroke-width=".8"/>'
            '<text class="label" x="{x:.1f}" y="{:g}" text-anchor="{}" fill="#777">{}</text>'
        ).format(axes.end, axes.end + 17, anchor, label, x=x)
    return parts


def _alarm_bands(view: BacktestView, axes: _Axes) -> Markup:
    parts = Markup("")
    for alarm in view.alarms:
        x = axes.x(alarm.start)
        width = max(axes.x(alarm.end) - x, 2.0)
        parts += Markup(
            '<path class="alarm area" fill="{color}" fill-opacity=".1" '
            'd="M{x:.1f} {top:g}h{w:.1f}V{end:g}h-{w:.1f}z"/>'
            '<path class="alarm" fill="{color}" d="M{x:.1f} {flag:g}l5 9h-10z"/>'
        ).format(color=ALARM, x=x, w=width, top=axes.top - 2, end=axes.bottom, flag=axes.top - 13)
    return parts


def _changes(view: BacktestView, axes: _Axes) -> Markup:
    """Draw each change point as a dashed line with its interval as a bar below the picture."""
    parts = Markup("")
    for alarm in view.alarms:
        if alarm.change is None:
            continue
        time, low, high = map(axes.x, alarm.change)
        parts += Markup(
            '<path class="change" fill="none" stroke="{color}" stroke-width="1.4" stroke-dasharray="3 3" '
            'd="M{time:.1f} {top:g}V{end:g}"/><path class="change" fill="none" stroke="{color}" '
            'stroke-width="3" d="M{low:.1f} {end:g}H{high:.1f}"/>'
        ).format(color=CHANGE, time=time, low=low, high=max(high, low + 2), top=axes.top, end=axes.end)
    return parts


def _legend(view: BacktestView) -> Markup:
    dash = "M{x:g} 11h22"
    entries: list[tuple[str, str, str, str, str]] = []
    if any(p.estimated for p in view.points):
        entries.append(("estimated line", ESTIMATED, dash, "5 3", "estimated (90 % interval)"))
    if any(p.realized for p in view.points):
        entries.append(("realized line", REALIZED, dash, "", "realized (90 % interval)"))
    if view.threshold is not None and view.has_performance:
        entries.append(("reference level", "#777", dash, "2 3", "reference"))
        entries.append(("threshold level", ALARM, dash, "7 4", "threshold (smallest loss)"))
    if view.alarms:
        entries.append(("alarm", ALARM, "", "", "alarm"))
        entries.append(("change", CHANGE, dash, "3 3", "change point (90 % interval)"))
    parts, x = Markup(""), 6.0
    for name, color, path, dashes, text in entries:
        if path:
            parts += Markup(
                '<path class="{}" fill="none" stroke="{}" stroke-width="1.8" stroke-dasharray="{}" d="{}"/>'
            ).format(name, color, dashes or "none", path.format(x=x))
        else:
            parts += Markup('<path class="{}" fill="{}" d="M{:g} 6l5 9h-10z"/>').format(name, color, x + 11)
        parts += Markup('<text class="label" x="{:g}" y="15" fill="#777">{}</text>').format(x + 28, text)
        x += 28 + 6.1 * len(text) + 16
    return parts


def heat_scale() -> Markup:
    """Draw the steps of the heat map with their upper ends."""
    parts = Markup("")
    for level, top in enumerate(LEVELS):
        parts += Markup(
            '<rect class="heat" x="{:g}" y="0" width="40" height="12" fill="{}" fill-opacity="{:.3g}"/>'
            '<text class="label" x="{:g}" y="24" text-anchor="end" fill="#777">{:g}</text>'
        ).format(level * 40, HEAT, _opacity(level), level * 40 + 40, top)
    return Markup(
        '<svg class="scale" role="img" viewBox="0 0 322 28" width="322" height="28" font-size="11" '
        'font-family="system-ui,sans-serif"><title>Colors of distances from 0 to 1</title>{}</svg>'
    ).format(parts)


def _tooltips(view: BacktestView, axes: _Axes) -> Markup:
    zones = Markup("")
    for i, point in enumerate(view.points):
        x, width = axes.edges[i], axes.edges[i + 1] - axes.edges[i]
        zones += Markup('<path d="M{:.1f} {:g}h{:.1f}V{:g}h-{:.1f}z"><title>{}</title></path>').format(
            x, axes.top, width, axes.end, width, _tooltip(view, point, i)
        )
    return Markup('<g fill="none" pointer-events="all">{}</g>').format(zones)


def _tooltip(view: BacktestView, point: Point, index: int) -> str:
    checks = f"check {point.first}" if point.first == point.last else f"checks {point.first} to {point.last}"
    facts = [f"{checks}: {point.word}"]
    for name, value in (("estimated", point.estimated), ("realized", point.realized)):
        if value is not None:
            facts.append(f"{name} {_metric(value.value, view.metric)}")
    drifted = [printable(row.column, MAX_NAME) for row in view.rows if row.drifted[index]]
    if drifted:
        more = f" and {len(drifted) - 3} more" if len(drifted) > 3 else ""
        facts.append(f"drift in {', '.join(drifted[:3])}{more}")
    return "; ".join(facts)


def _metric(value: float, metric: str) -> str:
    return format_metric(value, METRIC_NAMES.get(metric, metric))
