"""Plots of one run or several, as plotly's JSON; colours of text and grid are the page's."""

import importlib.util
import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from stylegan_jax.tools.report.curves import Curve, make_curves, smooth, split_branches, thin
from stylegan_jax.tools.report.log import Log
from stylegan_jax.tools.report.panels import Panel, arrange, is_detail, is_reference
from stylegan_jax.tools.report.reading import Run

# Seen on light and on dark paper, and told apart by most who see few colours.
COLORS = (
    *("#2f7fd1", "#e0722b", "#2e9e6b", "#b35fb0", "#c79a1e", "#d64550"),
    *("#35a3b5", "#8a6fe8", "#7c8a2c", "#a8694a"),
)
_GREY = "#8b9199"
# Curves of one run in the plots of several.
_DASHES = ("solid", "dot", "dash", "dashdot", "longdash", "longdashdot")
# Marks of a run at most in a plot: alarms that come and go would hide it.
_MOST_MARKS = 100
_MARKED_EVENTS = {
    "resume": "triangle-right",
    "rollback": "x",
    "killed": "square",
    "error": "square",
}
_RED = "#d64550"


class Plot(NamedTuple):
    """One plot.

    Attributes:
        panel: What it shows.
        spec: `{"data": ..., "layout": ...}` as JSON.
        note: Values that are not finite, in words.
    """

    panel: Panel
    spec: str
    note: str


class _Series(NamedTuple):
    """The curves of a run, and those that it went back behind."""

    run: Run
    curves: dict[str, Curve]
    given_up: dict[str, Curve]


def check_plotly(what: str) -> None:
    """Refuses where the packages that draw are not installed.

    Raises:
        ValueError: Says what to install, after `what` asked for it.
    """
    missing = [name for name in ("plotly", "jinja2") if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(
            f"{what} needs {' and '.join(missing)}: pip install 'stylegan_jax[report]', or in a "
            "copy of the repository pip install -e '.[report]'."
        )


def color_of(number: int) -> str:
    """Returns the colour of a run, or of a curve of the only one."""
    return COLORS[number % len(COLORS)]


def plotly_script() -> str:
    """Returns plotly's own JavaScript, which its package brings."""
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


def draw_plots(runs: Sequence[Run]) -> list[Plot]:
    """Draws every number that the runs have logged, in the order of the page."""
    series = []
    for run in runs:
        kept, given_up = split_branches(run.records)
        series.append(_Series(run, make_curves(kept), make_curves(given_up)))
    names = set().union(*(one.curves for one in series))
    return [_draw(panel, found, series) for panel, found in arrange(names)]


def _draw(panel: Panel, names: Sequence[str], series: Sequence[_Series]) -> Plot:
    """Draws one plot."""
    from plotly import graph_objects as go

    is_one = len(series) == 1
    if not is_one:  # parts of a score, of several runs, would be too many lines
        names = [name for name in names if not is_detail(name)] or names
    labels = _labels(names, is_one=is_one)
    traces: list[dict[str, Any]] = []
    bad: list[str] = []
    for number, one in enumerate(series):
        for position, name in enumerate(names):
            if name not in one.curves:
                continue
            parts = [labels[name]] if is_one else [labels[name], one.run.name]
            label = _plain(" · ".join(filter(None, parts)))
            style = _style(name, position, None if is_one else number)
            traces += _lines(one.curves[name], one.given_up.get(name), label, style)
            if count := one.curves[name].num_bad:
                bad.append(" · ".join([name, *parts[1:]]) + f": {count}")
    for number, one in enumerate(series):
        traces += _marks(one.run.log, one.run.name, None if is_one else number)

    figure = go.Figure(data=traces, layout=_layout(panel, names, series))
    note = f"Values that are not finite are gaps ({'; '.join(bad)})." if bad else ""
    return Plot(panel, str(figure.to_json()), note)


def _labels(names: Sequence[str], *, is_one: bool) -> dict[str, str]:
    """Shortens names to what the plot's title does not say; beside names of runs it may say all."""
    main = [name for name in names if not is_reference(name)]
    if not is_one and len(main) == 1:
        return {name: "" if name in main else name for name in names}
    if len(names) == 1:
        return {name: name.partition("/")[2] or name for name in names}
    prefix = os.path.commonprefix(list(names))
    # Whole words only.
    start = max(prefix.rfind("/"), prefix.rfind("_")) + 1
    return {name: name[start:] for name in names}


def _plain(text: str) -> str:
    """Makes text that plotly shows as it is: it reads `<b>` and such, and `&` of entities."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _style(name: str, position: int, run: int | None) -> dict[str, Any]:
    """Chooses colour and dash: of the curves of one run (None), else of runs and curves of each."""
    alone = run is None
    line: dict[str, Any] = {"color": color_of(position if alone else run), "dash": "solid"}
    if is_reference(name):
        line["dash"] = "dot" if "split" in name else "dash"
        line["color"] = _GREY if alone else line["color"]
    elif not alone:
        line["dash"] = _DASHES[position % len(_DASHES)]
    line["width"] = 1.2 if is_reference(name) else 2
    style: dict[str, Any] = {"line": line}
    if is_detail(name):
        style["visible"] = "legendonly"
    if is_reference(name) and not alone:
        style["showlegend"] = False
    return style


def _lines(
    curve: Curve, given_up: Curve | None, label: str, style: dict[str, Any]
) -> list[dict[str, Any]]:
    """Makes the lines of one number: as logged, smoothed where it is long, and what was given up.

    They come and go together in the legend.
    """
    calm = smooth(curve)
    behind = {"opacity": 0.3, "showlegend": False}
    thin_line = {"line": style["line"] | {"width": 1, "dash": "solid"}}
    lines = [_trace(curve, label, style | (behind | thin_line if calm else {}))]
    if calm:
        lines.append(_trace(calm, f"{label}, mean", style | {"name": label}))
    if given_up:
        dotted = {"line": style["line"] | {"width": 1.2, "dash": "dot"}}
        lines.append(_trace(given_up, f"{label}, given up", style | behind | dotted))
    return [line | {"legendgroup": label} for line in lines]


def _trace(curve: Curve, label: str, style: dict[str, Any]) -> dict[str, Any]:
    """Makes a line; single points have nothing to be joined to, and are dots."""
    thinned = thin(curve)
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(thinned.kimg) <= 40 else "lines",
        "marker": {"size": 5},
        "name": label,
        "x": _compact(thinned.kimg),
        "y": _compact(thinned.values),
        "hovertemplate": f"%{{y:.5g}} at %{{x:,.6~g}} kimg<extra>{label}</extra>",
    } | style


def _compact(values: np.ndarray) -> np.ndarray:
    """Halves the bytes of numbers, as no screen shows seven digits; not of those that overflow."""
    finite = values[np.isfinite(values)]
    fits = finite.size == 0 or np.abs(finite).max() < np.finfo(np.float32).max
    return values.astype(np.float32) if fits else values


def _marks(log: Log, name: str, run: int | None) -> list[dict[str, Any]]:
    """Makes marks along the top: alarms, and where a run was continued, ended or went back."""
    of = "" if run is None else f" · {_plain(name)}"
    # Runs stand below each other.
    height = 0.97 - 0.06 * (run or 0)
    alarms = [(alarm.kimg, alarm.title, "triangle-down") for alarm in log.alarms]
    events = [
        (event.kimg, event.text[:120], _MARKED_EVENTS[event.kind])
        for event in log.events
        if event.kind in _MARKED_EVENTS and event.kimg is not None
    ]
    return [
        *_mark(f"alarms{of}", alarms, height, _RED, _RED if run is None else color_of(run)),
        *_mark(
            f"starts and ends{of}", events, height, _GREY, _GREY if run is None else color_of(run)
        ),
    ]


def _mark(
    label: str, found: Sequence[tuple[float, str, str]], height: float, color: str, edge: str
) -> list[dict[str, Any]]:
    """Makes marks of one kind from (kimg, text, symbol), if there are any."""
    if not found:
        return []
    kimg, texts, symbols = zip(*sorted(found)[:: -(-len(found) // _MOST_MARKS)])
    marker = {"symbol": symbols, "size": 9, "color": color, "line": {"width": 1.5, "color": edge}}
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": label,
            "x": kimg,
            "y": [height] * len(kimg),
            "yaxis": "y2",
            "showlegend": False,
            "marker": marker,
            "text": [_plain(text) for text in texts],
            "hovertemplate": "%{text}<br>%{x:,.6~g} kimg<extra></extra>",
        }
    ]


def _layout(panel: Panel, names: Sequence[str], series: Sequence[_Series]) -> dict[str, Any]:
    """Describes axes and legend."""
    axis = {"zeroline": False, "tickformat": ",~g", "automargin": True}
    values = [one.curves[name].values for one in series for name in names if name in one.curves]
    decades = _decades(np.concatenate(values)) if panel.is_log else 0.0
    # Only what spans more than one factor of ten gains by it.
    scale = {"type": "log", "dtick": "D2" if decades < 2.5 else 1} if decades > 1 else {}
    return {
        "template": {},
        "height": 340,
        "margin": {"l": 62, "r": 14, "t": 30, "b": 44},
        "hovermode": "closest",
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "xaxis": axis | {"title": {"text": "kimg", "standoff": 8}},
        "yaxis": axis | {"title": {"text": panel.axis, "standoff": 8}} | scale,
        "yaxis2": {"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True},
        # Below the plot; the page makes room for its rows.
        "legend": {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"},
        "showlegend": True,
    }


def _decades(values: np.ndarray) -> float:
    """Returns how many factors of ten values span; 0 where some have no logarithm."""
    values = values[np.isfinite(values)]
    if values.size == 0 or values.min() <= 0:
        return 0.0
    return float(np.log10(values.max()) - np.log10(values.min()))


def bundle(plots: Sequence[Plot]) -> str:
    """Joins the plots into one JSON list that may stand within a page's script."""
    text = "[" + ",".join(plot.spec for plot in plots) + "]"
    # They stand inside of strings only, where JSON may spell them out.
    return re.sub("[<>&]", lambda match: f"\\u{ord(match[0]):04x}", text)
