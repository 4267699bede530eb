"""Histograms of reference and window as small inline SVG: no script, no style sheet needed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from driftbell.records import Histogram
from driftbell.tabular.profile import NEW, NULL, RARE

REFERENCE_COLOUR, WINDOW_COLOUR = "#8d99ae", "#d1495b"
"""Light bars and dark bars: they differ in print without colour, too."""

TOPS = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Where the axis of shares may end."""

LONGEST_LABEL = 22
LONGEST_SLANTED = 10
LONGEST_END = 16
"""Of the two labels of a small picture, so that they do not meet."""

LONGEST_TITLE = 60
CHARACTER, LINE = 5.6, 11.0
"""Width of a character of an axis label on average, and height of its line, in pixels."""


@dataclass(frozen=True, slots=True)
class _Frame:
    left: float
    right: float
    top: float
    bottom: float


def histogram_svg(
    histogram: Histogram, *, width: int = 460, height: int = 170, compact: bool = False
) -> Markup:
    """Draw the share of rows in each bin, reference and window side by side.

    The classes `reference`, `window`, `grid` and `label` let a page restyle it. A special bin of a
    categorical column (rare, new, null) is left out where both sides have no row in it.

    Args:
        histogram: the counts.
        width: pixels of the picture's own coordinates; it shrinks with its container.
        height: likewise.
        compact: without legend and values of single bins, for many small pictures on one page.

    >>> "<svg" in histogram_svg(Histogram(("a", "b"), (3, 1), (1, 3)))
    True
    """
    labels, old, new = _drawn(histogram)
    numeric = labels[0].startswith("≤ ") if labels else False
    slanted = not numeric and not compact and not _fits(labels, width - 40)
    frame = _Frame(33, width - 4, 6 if compact else 20, height - (46 if slanted else 18))
    highest = max((*old, *new), default=0.0)
    top = next((t for t in TOPS if t >= highest), 1.0)
    parts = [
        Markup(
            '<svg class="histogram" role="img" viewBox="0 0 {w} {h}" width="{w}" height="{h}" font-size="10" '
            'font-family="system-ui,sans-serif"><title>{title}</title>'
        ).format(w=width, h=height, title=_title(labels, old, new)),
        _axis(frame, top),
        _bars(frame, old, top, 0, "reference", REFERENCE_COLOUR),
        _bars(frame, new, top, 1, "window", WINDOW_COLOUR),
        _bin_labels(frame, labels, slanted=slanted, ends=compact),
    ]
    if not compact:
        parts += [_hover(frame, labels, old, new), _legend(frame)]
    return Markup("").join(parts) + Markup("</svg>")


def _drawn(histogram: Histogram) -> tuple[list[str], list[float], list[float]]:
    n, m = sum(histogram.reference) or 1, sum(histogram.window) or 1
    rows = [
        (label, old / n, new / m)
        for label, old, new in zip(histogram.labels, histogram.reference, histogram.window, strict=True)
        if old or new or label not in (RARE, NEW, NULL)
    ]
    return [r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows]


def _fits(labels: Sequence[str], width: float) -> bool:
    longest = max((len(_cut(t, LONGEST_LABEL)) for t in labels), default=0)
    return (longest + 1) * CHARACTER * len(labels) <= width


def _title(labels: Sequence[str], old: Sequence[float], new: Sequence[float]) -> str:
    if not labels:
        return "No rows to draw."
    i = max(range(len(labels)), key=lambda k: abs(new[k] - old[k]))
    change = f"{_cut(labels[i], LONGEST_TITLE)}, from {_percent(old[i])} to {_percent(new[i])}"
    return f"Share of rows in {len(labels)} bins, reference and window. Largest change: {change}."


def _axis(frame: _Frame, top: float) -> Markup:
    lines = Markup("")
    for share in (0.0, top / 2, top):
        y = frame.bottom - (frame.bottom - frame.top) * share / top
        lines += Markup(
            '<path class="grid" d="M{x0:g} {y:.1f}H{x1:g}" stroke="#8888" stroke-width=".6"/>'
            '<text class="label" x="{xt:g}" y="{yt:.1f}" text-anchor="end" fill="#777">{share:.3g}%</text>'
        ).format(x0=frame.left, x1=frame.right, y=y, xt=frame.left - 4, yt=y + 3.5, share=share * 100)
    return lines


def _bars(frame: _Frame, shares: Sequence[float], top: float, place: int, name: str, colour: str) -> Markup:
    slot = (frame.right - frame.left) / max(1, len(shares))
    thick = min(slot * 0.42, 40.0)
    path = []
    for i, share in enumerate(shares):
        tall = (frame.bottom - frame.top) * share / top
        if tall:
            x = frame.left + (i + 0.5) * slot + (place - 1) * thick
            path.append(f"M{x:.1f} {frame.bottom:g}v-{tall:.1f}h{thick:.1f}v{tall:.1f}z")
    return Markup('<path class="{}" fill="{}" d="{}"/>').format(name, colour, "".join(path))


def _bin_labels(frame: _Frame, labels: Sequence[str], *, slanted: bool, ends: bool) -> Markup:
    slot = (frame.right - frame.left) / max(1, len(labels))
    last = len(labels) - 1
    every = slanted or _fits(labels, frame.right - frame.left)
    shown = range(0, last + 1, math.ceil(LINE / slot)) if every else _spread(last, 2 if ends else 4)
    most = LONGEST_SLANTED if slanted else LONGEST_END if ends and not every else LONGEST_LABEL
    texts = Markup("")
    for i in shown:
        x, y, anchor, turn = frame.left + (i + 0.5) * slot, frame.bottom + 12, "middle", Markup("")
        if slanted:
            anchor, turn = "end", Markup(' transform="rotate(-35 {:.1f} {:.1f})"').format(x, y)
        elif not every and i == 0:
            anchor, x = "start", frame.left
        elif not every and i == last:
            anchor, x = "end", frame.right
        texts += Markup(
            '<text class="label" x="{:.1f}" y="{:.1f}" text-anchor="{}" fill="#777"{}>{}</text>'
        ).format(x, y, anchor, turn, _cut(labels[i], most))
    return texts


def _spread(last: int, most: int) -> list[int]:
    return sorted({round(k * last / (most - 1)) for k in range(most)})


def _hover(frame: _Frame, labels: Sequence[str], old: Sequence[float], new: Sequence[float]) -> Markup:
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
            _cut(label, LONGEST_TITLE),
            _percent(old[i]),
            _percent(new[i]),
        )
    return Markup('<g fill="none" pointer-events="all">{}</g>').format(zones)


def _legend(frame: _Frame) -> Markup:
    entries = Markup("")
    for x, name, colour in ((0, "reference", REFERENCE_COLOUR), (70, "window", WINDOW_COLOUR)):
        entries += Markup(
            '<rect class="{name}" x="{x:g}" y="3" width="9" height="9" fill="{colour}"/>'
            '<text class="label" x="{text:g}" y="11" fill="#777">{name}</text>'
        ).format(name=name, x=frame.left + x, text=frame.left + x + 13, colour=colour)
    return entries


def _percent(share: float) -> str:
    return f"{share:.1%}".replace("%", " %")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
