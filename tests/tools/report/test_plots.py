"""What plotly is given: every curve, gaps, marks; and nothing that a page would take for HTML."""

import base64
import importlib.util
import json
import math

import numpy as np
import pytest

from stylegan_jax.tools.report import plots
from stylegan_jax.tools.report.plots import bundle, check_plotly, draw_plots
from stylegan_jax.tools.report.reading import read_runs
from tests.tools.report.conftest import LOG, ticks


def draw(*folders):
    runs = read_runs([str(folder) for folder in folders])
    drawn = {plot.panel.title: (json.loads(plot.spec), plot.note) for plot in draw_plots(runs)}
    return {title: (spec["data"], spec["layout"], note) for title, (spec, note) in drawn.items()}


def numbers(array):
    return np.frombuffer(base64.b64decode(array["bdata"]), array["dtype"])


def test_one_run(make_run):
    drawn = draw(make_run())
    assert list(drawn) == [
        "Sliced Wasserstein distance",
        "Losses of G and D",
        "Signs of D(real) and D(fake)",
        "Gradient norms",
        "Images per second",
        "Seconds per kimg",
    ]
    (swd, part, floor, alarms), layout, note = drawn["Sliced Wasserstein distance"]
    assert [trace["name"] for trace in (swd, part, floor)] == ["swd", "swd_16", "swd_floor"]
    np.testing.assert_array_equal(numbers(swd["x"]), [0, 2])
    np.testing.assert_array_equal(numbers(swd["y"]), [200, 50])
    np.testing.assert_array_equal(numbers(floor["y"]), [7, 7])
    # The reals' own score is a grey dashed line; parts of a score wait in the legend.
    assert floor["line"]["dash"] == "dash" and floor["line"]["color"] != swd["line"]["color"]
    assert part["visible"] == "legendonly" and "visible" not in swd
    assert (
        alarms["yaxis"] == "y2" and alarms["x"] == [1.0] and alarms["text"] == ["D is too strong"]
    )
    assert layout["yaxis"]["type"] == "log" and note == ""

    (grad, _), layout, note = drawn["Gradient norms"]
    np.testing.assert_allclose(numbers(grad["y"]), [0.1, np.nan, 0.3, 0.4], rtol=1e-6)
    assert note == "Values that are not finite are gaps (Grad/Gmain: 1)."
    assert "type" not in layout["yaxis"]  # less than a factor of ten


def test_several_runs(make_run):
    log = LOG + "continuing at 1.500 kimg\n"
    drawn = draw(make_run("a", log=log), make_run("b", lines=ticks() + ticks()[3:]))
    data, _, _ = drawn["Losses of G and D"]
    lines = [trace for trace in data if trace["mode"] != "markers"]
    assert [trace["name"] for trace in lines] == ["a", "b", "b, given up"]
    # One colour per run; what was given up is dotted and comes and goes with its run.
    colors = [trace["line"]["color"] for trace in lines]
    assert colors[0] != colors[1] == colors[2] and lines[2]["line"]["dash"] == "dot"
    assert lines[1]["legendgroup"] == lines[2]["legendgroup"] and not lines[2]["showlegend"]
    np.testing.assert_array_equal(numbers(lines[2]["x"]), [1.5, 2])

    marks = [trace for trace in data if trace["mode"] == "markers"]
    assert [trace["name"] for trace in marks] == ["alarms · a", "starts and ends · a", "alarms · b"]
    assert marks[1]["text"] == ["continued at 1.5 kimg"]
    assert marks[0]["y"] != marks[2]["y"]


def test_long_curves_are_thinned_and_smoothed(make_run, rng):
    lines = [{"kimg": k / 10, "Loss/G/loss": float(rng.normal())} for k in range(10_000)]
    (raw, mean, _), layout, _ = draw(make_run(lines=lines))["Losses of G and D"]
    assert 1000 < len(numbers(raw["x"])) <= 2000 and len(numbers(mean["x"])) <= 300
    assert raw["opacity"] < 1 and raw["showlegend"] is False and raw["legendgroup"] == "G/loss"
    assert np.abs(numbers(mean["y"])).max() < 0.5 < np.abs(numbers(raw["y"])).max()
    assert "type" not in layout["yaxis"]  # there is no logarithm of what is negative


def test_values_that_are_never_finite(make_run):
    lines = [{"kimg": 1.0, "swd": "nan"}, {"kimg": 2.0, "swd": "-inf"}]
    data, layout, note = draw(make_run(lines=lines))["Sliced Wasserstein distance"]
    assert np.isnan(numbers(data[0]["y"])).all() and note.endswith("(swd: 2).")


def test_no_numbers(make_run):
    folder = make_run()
    (folder / "metrics.jsonl").unlink()
    assert draw(folder) == {} and bundle([]) == "[]"


def test_names_that_look_like_html(make_run):
    name = "</script><img src=x onerror=alert(1)>"
    lines = [{"kimg": float(k), name: 1.0, f"Loss/{name}": 1.0} for k in range(3)]
    log = f"ALARM at 1.0 kimg: {name}\n"
    runs = read_runs([str(make_run(text, lines=lines, log=log)) for text in ("<b>", "&amp;")])
    text = bundle(draw_plots(runs))
    assert "<" not in text and ">" not in text
    # plotly shows a few tags as what they mean: it gets them spelt out.
    for plot in json.loads(text):
        for trace in plot["data"]:
            assert "<" not in trace["name"] and "<" not in "".join(trace.get("text", []))
            assert "&lt;" in trace["name"] or "&amp;amp;" in trace["name"]


def test_many_alarms_do_not_hide_the_curves(make_run):
    log = "".join(f"ALARM at {k / 100} kimg: D is too strong\n" for k in range(1000))
    data, _, _ = draw(make_run(log=log))["Losses of G and D"]
    assert len(data[-1]["x"]) == 100 and math.isclose(data[-1]["x"][0], 0)


@pytest.mark.parametrize("gone", [{"plotly"}, {"jinja2"}, {"plotly", "jinja2"}])
def test_without_the_packages(monkeypatch, gone):
    check_plotly("--out=x.html")
    find = importlib.util.find_spec
    fake = type("util", (), {"find_spec": lambda name: None if name in gone else find(name)})
    monkeypatch.setattr(plots.importlib, "util", fake)
    with pytest.raises(
        ValueError, match=r"--out=x.html needs .*pip install 'stylegan_jax\[report"
    ) as e:
        check_plotly("--out=x.html")
    assert all(name in str(e.value).partition(":")[0] for name in gone)
