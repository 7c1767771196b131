"""Puts the page together: one HTML file that needs nothing else, neither network nor fonts."""

import json
import pathlib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from stylegan_jax.tools.report.curves import is_number
from stylegan_jax.tools.report.panels import GROUPS
from stylegan_jax.tools.report.pictures import Album, fill, find_pictures
from stylegan_jax.tools.report.plots import Plot, bundle, color_of, draw_plots, plotly_script
from stylegan_jax.tools.report.reading import Run
from stylegan_jax.tools.report.recipe import compare_with_recipe, differences
from stylegan_jax.tools.report.summary import Summary, describe_time, is_lower_better, summarise

# Templates, styles and behaviour.
_FOLDER = pathlib.Path(__file__).parent / "templates"
# Values of unknown length are cut here.
_MOST_LETTERS = 300
# The last ones are listed.
_MOST_ALARMS = 100
# What `events` say, by kind.
_EVENT_NAMES = {
    "start": "start",
    "resume": "continued",
    "rollback": "went back",
    "stop": "stopped",
    "killed": "killed",
    "error": "error",
    "watchdog": "watchdog",
    "note": "note",
}


def write_page(runs: Sequence[Run], *, max_bytes: int, now: float | None = None) -> str:
    """Returns the page.

    Everything that comes from files is escaped: a run may be called `<script>`.

    Args:
        runs: At least one.
        max_bytes: Limit of the page; pictures are made smaller and fewer to stay below it.
        now: Time in seconds since 1970, for tests.

    Returns:
        HTML. It is longer than `max_bytes` only where that leaves no room for any picture.
    """
    plots = draw_plots(runs)
    summaries = [summarise(run, now=now) for run in runs]
    albums = [find_pictures(run, summary.grid_kimg) for run, summary in zip(runs, summaries)]

    # Without pictures first: what is left of the limit is theirs.
    notes = [f"{run.name}: {note}" for run in runs for note in run.notes]
    empty = _render(runs, summaries, plots, albums, notes)
    spare = 1000 + 400 * sum(len(album.grids) + len(album.others) for album in albums)
    notes += fill(albums, max(max_bytes - len(empty.encode()) - spare, 0))
    return _render(runs, summaries, plots, albums, notes)


def _render(
    runs: Sequence[Run],
    summaries: Sequence[Summary],
    plots: Sequence[Plot],
    albums: Sequence[Album],
    notes: Sequence[str],
) -> str:
    """Fills the template."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": show_number, "value": show_value}
    items = [
        {
            "run": run,
            "color": color_of(number),
            "summary": summary,
            "album": album,
            "alarms": list(zip(run.log.alarms, summary.alarm_hours))[: -_MOST_ALARMS - 1 : -1],
            "settings": compare_with_recipe(run),
            "has_truncation": any(name.startswith("truncation") for name, _ in album.others),
            "truncation_command": _truncation_command(run),
        }
        for number, (run, summary, album) in enumerate(zip(runs, summaries, albums))
    ]
    groups = [
        (key, title, [(i, plot) for i, plot in enumerate(plots) if plot.panel.group == key])
        for key, title in GROUPS.items()
    ]
    return environment.get_template("page.html").render(
        title=" · ".join(run.name for run in runs),
        items=items,
        is_one=len(runs) == 1,
        groups=[group for group in groups if group[2]],
        has_marks=any('"yaxis":"y2"' in plot.spec for plot in plots),
        notes=notes,
        event_names=_EVENT_NAMES,
        reals=_distinct_reals(runs, albums),
        differences=differences(runs) if len(runs) > 1 else [],
        ranking=rank(runs, summaries),
        films=[_film(album) for album in albums],
        plots=bundle(plots),
        plotly=plotly_script(),
    )


def _truncation_command(run: Run) -> str:
    """Returns what a shell would draw a truncation sweep with."""
    folder = run.given.rstrip("/")
    words = ["python", "-m", "stylegan_jax.tools.figures", "--figure=truncation"]
    return shlex.join([*words, f"--checkpoint={folder}", f"--out={folder}/truncation.png"])


def _film(album: Album) -> list[dict[str, Any]]:
    """Returns the grids as the slider has them; the last one stands in the page already."""
    frames = [{"kimg": kimg, "uri": picture.uri} for kimg, picture in album.shown_grids]
    if frames:
        frames[-1] = frames[-1] | {"uri": None}
    return frames


def _distinct_reals(runs: Sequence[Run], albums: Sequence[Album]) -> list[tuple[list[str], Any]]:
    """Returns reals with the names of the runs that show them: mostly all show the same."""
    found: dict[str, tuple[list[str], Any]] = {}
    for run, album in zip(runs, albums):
        if picture := album.shown.get("reals"):
            found.setdefault(picture.uri, ([], picture))[0].append(run.name)
    return list(found.values())


def rank(
    runs: Sequence[Run], summaries: Sequence[Summary]
) -> list[tuple[str, str, list[tuple[int, float, float]]]]:
    """Sorts runs by each score, the best first.

    Returns:
        Scores by name, what is good in words, and for each run its number, value and kimg.
    """
    values: dict[str, list[tuple[int, float, float]]] = {}
    for number, summary in enumerate(summaries):
        for best in summary.best:
            values.setdefault(best.name, []).append((number, best.value, best.kimg))
    table = []
    for name, rows in values.items():
        sign = 1 if is_lower_better(name) else -1
        words = "lower is better" if sign > 0 else "higher is better"
        table.append((name, words, sorted(rows, key=lambda row: sign * row[1])))
    return table


def show_number(value: Any) -> str:
    """Writes a number as people read it: 25,000, 12.35, 0.00012."""
    if not is_number(value):
        return show_value(value)
    if value != value or value in (float("inf"), float("-inf")):
        return str(value)
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def show_value(value: Any, name: str = "") -> str:
    """Writes any value of a JSON file, cut where it is long; a `time` may be seconds since 1970."""
    if is_number(value) and name == "time":
        return describe_time(value)
    if is_number(value):
        return show_number(value)
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    if isinstance(value, Mapping):
        text = ", ".join(f"{name}={show_value(part)}" for name, part in value.items())
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]} ..."
