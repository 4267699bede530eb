"""Histograms of reference and current rows as small inline SVG pictures, without script or style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from driftbell.publish.wording import truncate
from driftbell.records import Histogram
from driftbell.tabular.profile import NEW, NULL, RARE

REFERENCE_COLOR, WINDOW_COLOR = "#8d99ae", "#d1495b"
"""Light and dark bars, distinguishable in black and white print."""

AXIS_MAXIMA = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Possible upper ends of the vertical axis, as shares of rows."""

MAX_LABEL = 22
MAX_SLANTED_LABEL = 10
MAX_END_LABEL = 16
"""Characters of the first and last label of a compact picture, so that they do not overlap."""

MAX_TITLE = 60
CHARACTER_WIDTH, LINE_HEIGHT = 5.6, 11.0
"""Average width of a character of an axis label, and height of its line, in pixels."""


@dataclass(frozen=True, slots=True)
class _Frame:
    left: float
    right: float
    top: float
    bottom: float


def histogram_svg(
    histogram: Histogram,
    *,
    width: int = 460,
    height: int = 170,
    compact: bool = False,
    current: str = "window",
) -> Markup:
    """Draw the share of rows in each bin, reference and current rows side by side.

    A page can restyle the classes `reference`, `window`, `grid` and `label`. A special bin of a categorical
    column (rare, new, null) is omitted if it is empty on both sides.

    Args:
        histogram: row counts by bin.
        width: width in pixels; the picture shrinks with its container.
        height: height in pixels.
        compact: omit the legend and the values of single bins, for many small pictures on one page.
        current: name of the current rows in the legend and the title.

    >>> "<svg" in histogram_svg(Histogram(("a", "b"), (3, 1), (1, 3)))
    True
    """
    labels, reference, window = _bin_shares(histogram)
    numeric = labels[0].startswith("≤ ") if labels else False
    slanted = not numeric and not compact and not _fits(labels, width - 40)
    frame = _Frame(33, width - 4, 6 if compact else 20, height - (46 if slanted else 18))
    highest = max((*reference, *window), default=0.0)
    top = next((t for t in AXIS_MAXIMA if t >= highest), 1.0)
    parts = [
        Markup(
            '<svg class="histogram" role="img" viewBox="0 0 {w} {h}" width="{w}" height="{h}" font-size="10" '
            'font-family="system-ui,sans-serif"><title>{title}</title>'
        ).format(w=width, h=height, title=_title(labels, reference, window, current)),
        _axis(frame, top),
        _bars(frame, reference, top, 0, "reference", REFERENCE_COLOR),
        _bars(frame, window, top, 1, "window", WINDOW_COLOR),
        _bin_labels(frame, labels, slanted=slanted, ends=compact),
    ]
    if not compact:
        parts += [_tooltips(frame, labels, reference, window), _legend(frame, current)]
    return Markup("").join(parts) + Markup("</svg>")


def _bin_shares(histogram: Histogram) -> tuple[list[str], list[float], list[float]]:
    """Return the label of each visible bin and its share of the rows of reference and window."""
    n, m = sum(histogram.reference) or 1, sum(histogram.window) or 1
    rows = [
        (label, reference / n, window / m)
        for label, reference, window in zip(
            histogram.labels, histogram.reference, histogram.window, strict=True
        )
        if reference or window or label not in (RARE, NEW, NULL)
    ]
    return [r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows]


def _fits(labels: Sequence[str], width: float) -> bool:
    longest = max((len(truncate(t, MAX_LABEL)) for t in labels), default=0)
    return (longest + 1) * CHARACTER_WIDTH * len(labels) <= width


def _title(labels: Sequence[str], reference: Sequence[float], window: Sequence[float], current: str) -> str:
    if not labels:
        return "No rows."
    i = max(range(len(labels)), key=lambda k: abs(window[k] - reference[k]))
    change = f"{truncate(labels[i], MAX_TITLE)}, from {_percent(reference[i])} to {_percent(window[i])}"
    return f"Share of rows in {len(labels)} bins, reference and {current}. Largest change: {change}."


def _axis(frame: _Frame, top: float) -> Markup:
    lines = Markup("")
    for share in (0.0, top / 2, top):
        y = frame.bottom - (frame.bottom - frame.top) * share / top
        lines += Markup(
            '<path class="grid" d="M{x0:g} {y:.1f}H{x1:g}" stroke="#8888" stroke-width=".6"/>'
            '<text class="label" x="{xt:g}" y="{yt:.1f}" text-anchor="end" fill="#777">{share:.3g}%</text>'
        ).format(x0=frame.left, x1=frame.right, y=y, xt=frame.left - 4, yt=y + 3.5, share=share * 100)
    return lines


def _bars(frame: _Frame, shares: Sequence[float], top: float, side: int, name: str, color: str) -> Markup:
    slot = (frame.right - frame.left) / max(1, len(shares))
    width = min(slot * 0.42, 40.0)
    path = []
    for i, share in enumerate(shares):
        height = (frame.bottom - frame.top) * share / top
        if height:
            x = frame.left + (i + 0.5) * slot + (side - 1) * width
            path.append(f"M{x:.1f} {frame.bottom:g}v-{height:.1f}h{width:.1f}v{height:.1f}z")
    return Markup('<path class="{}" fill="{}" d="{}"/>').format(name, color, "".join(path))


def _bin_labels(frame: _Frame, labels: Sequence[str], *, slanted: bool, ends: bool) -> Markup:
    slot = (frame.right - frame.left) / max(1, len(labels))
    last = len(labels) - 1
    every = slanted or _fits(labels, frame.right - frame.left)
    visible = range(0, last + 1, math.ceil(LINE_HEIGHT / slot)) if every else _spread(last, 2 if ends else 4)
    length = MAX_SLANTED_LABEL if slanted else MAX_END_LABEL if ends and not every else MAX_LABEL
    texts = Markup("")
    for i in visible:
        x, y, anchor, turn = frame.left + (i + 0.5) * slot, frame.bottom + 12, "middle", Markup("")
        if slanted:
            anchor, turn = "end", Markup(' transform="rotate(-35 {:.1f} {:.1f})"').format(x, y)
        elif not every and i == 0:
            anchor, x = "start", frame.left
        elif not every and i == last:
            anchor, x = "end", frame.right
        texts += Markup(
            '<text class="label" x="{:.1f}" y="{:.1f}" text-anchor="{}" fill="#777"{}>{}</text>'
        ).format(x, y, anchor, turn, truncate(labels[i], length))
    return texts


def _spread(last: int, count: int) -> list[int]:
    """Return up to `count` evenly spaced indexes from 0 to `last`."""
    return sorted({round(k * last / (count - 1)) for k in range(count)})


def _tooltips(
    frame: _Frame, labels: Sequence[str], reference: Sequence[float], window: Sequence[float]
) -> Markup:
    slot = (frame.right - frame.left) / max(1, len(labels))
    zones = Markup("")
    for i, label in enumerate(labels):
        zones += Markup(
            '<path d="M{:.1f} {:g}h{:.1f}V{:g}h-{:.1f}z"><title>{}: {} → {}</title></path>'
        ).format(
            frame.left + i * slot,
            frame.top,
            slot,
            frame.bottom,
            slot,
            truncate(label, MAX_TITLE),
            _percent(reference[i]),
            _percent(window[i]),
        )
    return Markup('<g fill="none" pointer-events="all">{}</g>').format(zones)


def _legend(frame: _Frame, current: str) -> Markup:
    entries = Markup("")
    sides = ((0, "reference", "reference", REFERENCE_COLOR), (70, "window", current, WINDOW_COLOR))
    for x, style, name, color in sides:
        entries += Markup(
            '<rect class="{style}" x="{x:g}" y="3" width="9" height="9" fill="{color}"/>'
            '<text class="label" x="{text:g}" y="11" fill="#777">{name}</text>'
        ).format(style=style, name=name, x=frame.left + x, text=frame.left + x + 13, color=color)
    return entries


def _percent(share: float) -> str:
    return f"{share:.1%}".replace("%", " %")
