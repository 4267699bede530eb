"""The picture, page and plot of a backtest: lines, thresholds, heat map, alarms, and what is left out."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree

import pytest
from matplotlib.collections import LineCollection, QuadMesh
from matplotlib.dates import date2num

from driftbell.errors import MissingExtraError
from driftbell.publish.axis import DAY, axis_numbers, axis_times
from driftbell.publish.backtest_charts import LEVELS, MIN_OPACITY, PALE, backtest_svg
from driftbell.publish.backtest_report import MAX_ALARMS, MAX_BYTES, backtest_report
from driftbell.publish.backtest_view import MAX_COLUMNS, MAX_POINTS, backtest_view
from driftbell.records import ColumnStats, Interval, Kind, Verdict
from driftbell.simulation.backtest_checks import Backtest, BacktestCheck, BacktestReference

START = datetime(2026, 5, 1, tzinfo=UTC)
SVG = "{http://www.w3.org/2000/svg}"


def check(index: int, *, timed: bool = True, **changes: Any) -> BacktestCheck:
    start: Any = START + timedelta(days=index) if timed else 500 * index
    end: Any = START + timedelta(days=index + 1) if timed else 500 * (index + 1)
    facts: dict[str, Any] = {"columns": (), "start": start, "end": end}
    facts |= {"estimated_loss": None, "interval": None, "sentence": f"Sentence {index}."}
    facts |= {"column_stats": (stats("age", 0.03), stats("city", 0.01))}
    facts |= {"estimated": {"accuracy": Interval(0.9, 0.88, 0.92)}}
    facts |= {"realized": {"accuracy": Interval(0.91, 0.87, 0.95)}}
    verdict = changes.pop("verdict", Verdict.OK)
    return BacktestCheck(index, 500, verdict, 0.1, {}, **facts | changes)


def stats(name: str, distance: float | None, *, drifted: bool = False) -> ColumnStats:
    verdict = Verdict.WARNING if drifted else Verdict.OK
    return ColumnStats(name, "feature", Kind.NUMERIC, verdict, drifted=drifted, distance=distance)


def result(checks: Sequence[BacktestCheck], *, metric: str = "accuracy", labelled: bool = True) -> Backtest:
    metrics = {metric: Interval(0.92, 0.9, 0.94)} if labelled and metric else {}
    reference = BacktestReference(4000, metric, metrics, 0.02, ())
    return Backtest(lambda: iter(checks), reference, count=len(checks))


def alarmed(*, timed: bool = True) -> Backtest:
    """Return ten checks, of which the last four are in alarm since a change in check 5."""
    change = tuple(START + timedelta(days=d) if timed else 500 * d for d in (5, 4, 6))
    bad: dict[str, Any] = {
        "verdict": Verdict.ALARM,
        "change_point": change,
        "columns": ("age",),
        "estimated": {"accuracy": Interval(0.7, 0.6, 0.8)},
        "column_stats": (stats("age", 0.6, drifted=True), stats("city", None)),
    }
    return result([check(i, timed=timed, **(bad if i >= 6 else {})) for i in range(10)])


def paths(svg: str, name: str) -> list[Any]:
    root = ElementTree.fromstring(svg)
    return [p for p in root.iter("path") if name in p.get("class", "").split()]


def test_the_view_has_thresholds_alarms_and_columns_in_order() -> None:
    view = backtest_view(alarmed())
    assert view.sentence == "1 alarm in 10 checks. Verdicts: 4 alarm, 6 ok."
    assert view.reference == 0.92
    assert view.threshold == pytest.approx(0.90)
    (alarm,) = view.alarms
    assert (alarm.start, alarm.end) == ((START + timedelta(days=6)).timestamp(), view.points[-1].end)
    assert alarm.change == tuple((START + timedelta(days=d)).timestamp() for d in (5, 4, 6))
    assert [(r.column, r.drifted_checks) for r in view.rows] == [("age", 4), ("city", 0)]
    assert view.rows[1].distances[6:] == [None] * 4


def test_the_threshold_of_an_error_is_above_the_reference() -> None:
    backtest = Backtest(
        lambda: iter([check(0)]),
        BacktestReference(10, "mae", {"mae": Interval(3.0, 2.9, 3.1)}, 0.3, ()),
        count=1,
    )
    assert backtest_view(backtest).threshold == pytest.approx(3.3)


def test_an_interrupted_iteration_goes_on_with_the_next_check() -> None:
    interruptions = [KeyboardInterrupt()]

    def start() -> Iterator[BacktestCheck]:
        for index in range(4):
            if index == 2 and interruptions:
                raise interruptions.pop()
            yield check(index)

    backtest = Backtest(start, BacktestReference(10, "", {}, 0.0, ()), count=4)
    with pytest.raises(KeyboardInterrupt):
        list(backtest)
    assert [c.index for c in backtest] == [0, 1, 2, 3]


def test_consecutive_checks_are_combined_if_there_are_many() -> None:
    last = check(2 * MAX_POINTS, verdict=Verdict.ALARM, estimated={"accuracy": Interval(0.5, 0.4, 0.6)})
    view = backtest_view(result([*(check(i) for i in range(2 * MAX_POINTS)), last]))
    assert len(view.points) == 201
    assert view.checks_per_point == 3
    assert (view.points[-1].first, view.points[-1].last) == (600, 600)
    assert view.points[-1].word == "alarm"
    estimated = view.points[0].estimated
    assert estimated is not None
    assert (estimated.low, estimated.high) == (0.88, 0.92)
    assert estimated.value == pytest.approx(0.9)


def test_the_picture_has_lines_levels_alarms_and_cells() -> None:
    svg = backtest_svg(backtest_view(alarmed()))
    for name in ("estimated", "realized"):
        line = next(p for p in paths(svg, name) if "line" in p.get("class").split() and len(p.get("d")) > 30)
        assert line.get("d").count("L") == 9
    assert len(paths(svg, "level")) == 4  # reference and threshold, in the picture and in the legend
    assert len(paths(svg, "area")) == 1
    assert len([p for p in paths(svg, "change") if "V" in p.get("d")]) == 1
    assert sum(p.get("d").count("M") for p in paths(svg, "heat")) == 16  # 20 without the 4 that are missing
    (drifted,) = paths(svg, "drifted")
    assert drifted.get("d").count("M") == 4
    titles = [t.text for t in ElementTree.fromstring(svg).iter("title")]
    assert "check 6: alarm; estimated 70.0 %; realized 91.0 %; drift in age" in titles


def test_a_gap_interrupts_the_line() -> None:
    checks = [check(i, realized={}, estimated={} if i == 3 else check(i).estimated) for i in range(6)]
    svg = backtest_svg(backtest_view(result(checks)))
    lines = [p.get("d") for p in paths(svg, "estimated") if "line" in p.get("class")]
    assert max(d.count("M") for d in lines) == 2
    assert "realized (90" not in svg


def test_without_predictions_there_is_only_the_heat_map() -> None:
    checks = [check(i, realized={}, estimated={}) for i in range(4)]
    backtest = result(checks, metric="")
    page = backtest.to_html()
    assert "Drift over time" in page
    assert "Estimated" not in page
    assert "Score" not in page
    assert not paths(backtest_svg(backtest_view(backtest)), "level")
    figure = backtest.plot()
    assert len([a for a in figure.axes if a.get_label() != "<colorbar>"]) == 1


def test_the_page_lists_alarms_and_checks() -> None:
    page = backtest_report(alarmed(), ("may.csv", "<june>.csv"))
    assert "<h1>1 alarm in 10 checks. Verdicts: 4 alarm, 6 ok.</h1>" in page
    assert "may.csv, 4,000 rows" in page
    assert "&lt;june&gt;.csv, 10 checks" in page
    assert "<b>Check 6, 2026-05-07 00:00.</b> Sentence 6." in page
    assert "Check 7," not in page  # the alarm is open already
    assert "90.0 % (88.0 % to 92.0 %)" in page
    assert page.count('<th scope="row">') == 10
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_a_long_backtest_keeps_its_alarms_in_a_page_of_limited_size() -> None:
    names = [f"a column with a long name {i}" for i in range(60)]
    columns = tuple(stats(n, 0.5, drifted=True) for n in names)
    checks = [
        check(i, verdict=Verdict.ALARM if i % 100 == 0 else Verdict.OK, column_stats=columns)
        for i in range(6000)
    ]
    page = result(checks).to_html()
    assert len(page.encode()) <= MAX_BYTES
    assert "1,000 of 6,000 checks" in page
    assert "the others are 5,000 ok" in page
    assert page.count('<tr class="alarm">') == 60
    assert f"and {60 - MAX_ALARMS} more alarms" in page
    assert f"The {MAX_COLUMNS} most drifted columns; 40 more are not shown" in page


def test_its_representation_computes_no_check() -> None:
    backtest = result([check(i) for i in range(3)])
    assert repr(backtest) == "<Backtest: 0 of 3 checks computed>"
    assert len(backtest.checks) == 3
    assert repr(backtest) == "<Backtest: 3 of 3 checks computed>"


def test_names_of_columns_are_text() -> None:
    hostile = "<script>$x$\n" + "y" * 200
    backtest = result([check(0, column_stats=(stats(hostile, 0.9, drifted=True),), columns=(hostile,))])
    assert "<script>" not in backtest.to_html()
    assert "<script>" not in backtest._repr_html_()
    ElementTree.fromstring(backtest_svg(backtest_view(backtest)))
    backtest.plot().canvas.draw()


def test_a_notebook_shows_the_picture() -> None:
    html = alarmed()._repr_html_()
    assert html.startswith("<div><p><b>1 alarm in 10 checks.")
    assert '<svg class="backtest"' in html


@pytest.mark.parametrize("timed", [True, False])
def test_the_plot_has_both_lines_both_levels_and_the_heat_map(timed: bool) -> None:
    figure = alarmed(timed=timed).plot()
    performance, heat = figure.axes[:2]
    lines: dict[Any, Any] = {line.get_label(): line for line in performance.get_lines()}
    assert list(lines["estimated (90 % interval)"].get_ydata()) == [0.9] * 6 + [0.7] * 4
    assert list(lines["realized (90 % interval)"].get_ydata()) == [0.91] * 10
    assert set(lines["reference"].get_ydata()) == {0.92}
    assert lines["threshold (smallest loss)"].get_ydata()[0] == pytest.approx(0.9)
    change = lines["change point"].get_xdata()[0]
    assert (date2num(change) if timed else change) == (date2num(START + timedelta(days=5)) if timed else 2500)
    cells: Any = next(c for c in heat.collections if isinstance(c, QuadMesh)).get_array()
    assert cells.shape == (2, 10)
    assert cells[0, 9] == 0.6
    assert cells.mask[1, 9]
    assert [t.get_text() for t in heat.get_yticklabels()] == ["age", "city"]
    (legend,) = figure.legends
    assert "alarm" in [text.get_text() for text in legend.get_texts()]
    assert not performance.get_legend()
    assert heat.get_xlabel() == ("time (UTC)" if timed else "row")
    assert figure.get_suptitle() == "1 alarm in 10 checks. Verdicts: 4 alarm, 6 ok."
    figure.canvas.draw()


def test_without_labels_in_the_reference_there_is_no_threshold() -> None:
    figure = result([check(i, realized={}) for i in range(3)], labelled=False).plot()
    labels = {line.get_label() for line in figure.axes[0].get_lines()}
    assert "estimated (90 % interval)" in labels
    assert not labels & {"reference", "realized (90 % interval)"}


def test_no_compared_column_is_stated() -> None:
    backtest = result([check(0, estimated={}, realized={}, column_stats=())], metric="")
    assert "No column was compared." in backtest.to_html()
    assert backtest.plot().texts[0].get_text() == "no column was compared"


def test_a_backtest_without_checks_has_a_page() -> None:
    assert "0 alarms in 0 checks. Verdicts: none." in result([]).to_html()
    assert "0 alarms" in result([])._repr_html_()
    assert result([]).plot().texts


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"Backtest\.plot\(\) needs the extra 'plot'"):
        alarmed().plot()


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.951, 0.953), (3.0, 4000.0), (0.0, 1e-9)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    labels = axis_numbers(low, high)
    assert 2 <= len(labels) <= 7
    assert all(low - 1e-12 <= t <= high + 1e-12 for t in labels)


@pytest.mark.parametrize("span", [60.0, 3600.0, DAY, 40 * DAY, 4 * 365 * DAY, 80 * 365 * DAY])
def test_times_have_few_ticks(span: float) -> None:
    start = START.timestamp()
    assert 1 <= len(axis_times(start, start + span)) <= 8


def test_a_change_that_is_not_significant_is_pale() -> None:
    columns = tuple(
        replace(stats(name, 0.3), p_value=p_value) for name, p_value in (("a", 0.4), ("b", 0.01), ("c", None))
    )
    backtest = result([check(i, column_stats=columns) for i in range(2)])
    view = backtest_view(backtest)
    assert [list(row.noise) for row in view.rows] == [[True, True], [False, False], [False, False]]
    opacities = {p.get("fill-opacity"): p.get("d").count("M") for p in paths(backtest_svg(view), "heat")}
    assert sorted(opacities.values()) == [2, 4]
    low, high = sorted(map(float, opacities))
    assert low == pytest.approx(PALE * high, rel=0.01)
    mesh: Any = next(c for c in backtest.plot().axes[1].collections if isinstance(c, QuadMesh))
    assert mesh.get_alpha().tolist() == [[PALE, PALE], [1, 1], [1, 1]]


def test_a_column_that_is_not_compared_has_a_dotted_line_and_the_lowest_step_a_color() -> None:
    compared, not_compared = stats("a", 0.0), replace(stats("b", 0.3), distance=None)
    first = check(0, column_stats=(compared, stats("b", 0.3)))
    backtest = result([first, check(1, column_stats=(compared, not_compared))], labelled=True)
    svg = backtest_svg(backtest_view(backtest))
    assert [p.get("d").count("M") for p in paths(svg, "gap")] == [1]
    assert min(float(p.get("fill-opacity")) for p in paths(svg, "heat")) == MIN_OPACITY
    lines = [c for c in backtest.plot().axes[1].collections if isinstance(c, LineCollection)]
    assert [len(c.get_segments()) for c in lines if c.get_linestyle()[0][1]] == [1]
    assert "gap" not in backtest_svg(backtest_view(result([first])))
    assert "A dotted line: not compared." in backtest.to_html()


def test_levels_of_the_heat_map_end_at_one() -> None:
    assert LEVELS[-1] == 1
