"""The page: everything is in it, nothing of it comes from elsewhere, and names are only text."""

import html.parser
import json
import re

import pytest

from stylegan_jax.run.images import save_png
from stylegan_jax.tools.report import page
from stylegan_jax.tools.report.page import rank, show_number, show_value, write_page
from stylegan_jax.tools.report.reading import read_runs
from stylegan_jax.tools.report.summary import summarise
from tests.tools.report.conftest import LOG, ticks

VOID = {"meta", "img", "input", "br", "link"}


class Reader(html.parser.HTMLParser):
    """Checks that tags are closed in order; keeps tags, and text outside of scripts and styles."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.words, self.scripts = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data):
        place = self.open[-1] if self.open else ""
        (self.scripts if place in ("script", "style") else self.words).append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words)).replace(" ,", ",").replace(" ;", ";")


def page_of(*folders, max_bytes=64_000_000):
    text = write_page(read_runs([str(folder) for folder in folders]), max_bytes=max_bytes)
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return text, reader


@pytest.fixture(autouse=True)
def short_plotly(monkeypatch):
    """Its 5 MB take seconds to parse."""
    monkeypatch.setattr(page, "plotly_script", lambda: "/* plotly */")


@pytest.fixture
def evaluated(make_run):
    folder = make_run(settings={"loss.r1_gamma": 7.0, "io.checkpoint_kimg": 1.0})
    line = {
        "metric": "fid50k_full",
        "nimg": 2000,
        "values": {"fid50k_full": 12.5},
        "protocol": {"num_images": 50000, "reals": {"dataset": "portraits"}},
    }
    (folder / "evaluations.jsonl").write_text(json.dumps(line))
    return folder


def test_what_a_page_holds(evaluated):
    text, reader = page_of(evaluated)
    for words in (
        "2 of 3 kimg",
        "8 x TPU v5 lite",
        "best swd, 2 kimg",
        "best fid50k_full, 2 kimg",
        "D is too strong",
        "1 kimg, after 36s of training; over at 2 kimg",
        "raise loss.r1_gamma from 5 to 15",
        "num_images 50,000",
        "reals dataset=portraits",
        "The installed recipe that is nearest is quickstart:fast; 1 of ",
        "No truncation sweep lies in the folder",
        "--figure=truncation",
        "2 saved before and deleted since",
        "alarm over at 2.0 kimg",
        "Values that are not finite are gaps (Grad/Gmain: 1).",
    ):
        assert words in reader.text, words
    # Slider, grids, reals; every picture and plot says what it is.
    images = [attrs for tag, attrs in reader.tags if tag == "img"]
    assert [image["alt"] for image in images] == [
        "Samples of run at 2 kimg",
        "Training images of run",
        "",
    ]
    films = json.loads(re.search(r'id="films-data">(.*?)</script>', text)[1])
    assert [[frame["kimg"] for frame in film] for film in films] == [[0, 1, 2]]
    assert films[0][-1]["uri"] is None and images[0]["src"].startswith("data:image/png;base64,")
    plots = [attrs for _, attrs in reader.tags if attrs.get("class") == "canvas"]
    data = json.loads(re.search(r'id="plots-data">(.*?)</script>', text)[1])
    assert len(plots) == len(data) == 6 and all(plot["aria-label"] for plot in plots)
    # Links within the page lead somewhere.
    ids = [attrs["id"] for _, attrs in reader.tags if "id" in attrs]
    links = [attrs["href"] for tag, attrs in reader.tags if tag == "a"]
    assert len(ids) == len(set(ids)) and {link.removeprefix("#") for link in links} <= set(ids)


def test_nothing_comes_from_elsewhere(evaluated):
    text, reader = page_of(evaluated)
    for tag, attrs in reader.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form") or attrs == {
            "method": "dialog"
        }
        for name in ("src", "href", "action", "srcset", "poster"):
            assert attrs.get(name, "#").startswith(("#", "data:image/")), (tag, attrs)
        assert not [name for name in attrs if name.startswith("on")]
    assert "default-src 'none'" in text
    styles = re.search(r"<style>(.*?)</style>", text, re.S)[1]
    assert "url(" not in styles and "@import" not in styles
    assert "prefers-color-scheme: dark" in styles and "@media print" in styles


def test_names_are_only_text(make_run):
    """Of a run, a setting, a number, an alarm, a figure, an evaluation, a line of the log."""
    evil = '<script>alert("x")<!--{{ 7 * 7 }}'
    log = LOG.replace("portraits", evil).replace("D is too strong", evil) + f"NOTE: {evil}\n"
    lines = [{"kimg": 1.0, evil: 1.0, f"Loss/{evil}": 2.0, "swd": "nan"}]
    folder = make_run(evil.replace("/", ""), lines=lines, log=log, settings={"seed": evil})
    line = {"metric": evil, "values": {evil: 1.0}, "protocol": {evil: evil}, "checkpoint": evil}
    (folder / "evaluations.jsonl").write_text(json.dumps(line))
    (folder / ".run.json").write_text(json.dumps({"host": evil}))
    (folder / f"truncation {evil}.png").write_bytes((folder / "reals.png").read_bytes())
    plain = page_of(make_run("plain"))[1]
    for folders in ([folder], [folder, folder.parent / "plain"]):
        text, reader = page_of(*folders)
        assert "<script>alert" not in text and "<!--" not in re.sub(r"(?s)<script>.*", "", text)
        # As many scripts as on any page; what was written stands there as text.
        count = [tag for tag, _ in reader.tags].count("script")
        assert count == [tag for tag, _ in plain.tags].count("script") == 4
        assert reader.text.count(evil) >= 8 and "49" not in reader.text.split("alert", 1)[1][:40]


def test_several_runs(make_run, evaluated):
    better = [*ticks()[:-1], {"kimg": 2.0, "swd": 40.0}]
    other = make_run("other", lines=better, grids=(0, 2, 4), settings={"seed": 7})
    text, reader = page_of(evaluated, other)
    assert "Best swd lower is better Run swd at kimg other 40 2 run 50 2" in reader.text
    assert "seed 0 7" in reader.text and "G.name" not in reader.text.split("Scores")[0]
    films = json.loads(re.search(r'id="films-data">(.*?)</script>', text)[1])
    # Of the other run 4 kimg lies behind its last number: that future was given up.
    assert [[frame["kimg"] for frame in film] for film in films] == [[0, 1, 2], [0, 2]]
    # Reals that are the same stand there once.
    assert [attrs["alt"] for tag, attrs in reader.tags if tag == "img"][:3] == [
        "Samples of run at 2 kimg",
        "Samples of other at 2 kimg",
        "Training images of run, other",
    ]


def test_runs_that_have_hardly_begun(make_run, workdir):
    bare = make_run("bare", grids=(), log="")
    for name in ("metrics.jsonl", "log.txt", "reals.png"):
        (bare / name).unlink()
    for folders in ([bare], [workdir], [bare, workdir]):
        text, reader = page_of(*folders)
        assert "No numbers were logged yet" in reader.text and "No alarms." in reader.text
        assert "has no sample grids" in reader.text and 'id="time"' not in text
        assert "No log was found" in reader.text and "Nothing was evaluated" in reader.text
    assert "16 kept" in page_of(workdir)[1].text.replace("0.016", "16")


@pytest.mark.parametrize("strange", ["x", -1, 1e308, float("nan"), 10**400, {"a": [1]}])
def test_values_that_make_no_sense(make_run, strange):
    changes = ("metrics", "growth", "seed", "io.checkpoint_kimg", "io.tick_kimg", "G.name")
    changes += ("schedule.total_kimg", "schedule.batch_size", "data.resolution")
    value = "x" if isinstance(strange, list | dict) else strange  # which lines of numbers have not
    lines = [{"kimg": 1.0, "swd": value, "Loss/G/loss": 1.0}, {"kimg": value, "swd": 1.0}]
    lines.append({"kimg": 2.0, "swd": 1e-300, "Timing/sec_per_kimg": value})
    log = LOG + "1.0.0/3.0 kimg  5 img/s\nALARM at 1.2.3 kimg: x\nALARM at nan kimg: x\n"
    folder = make_run(lines=lines, log=log, settings={name: strange for name in changes})
    names = ("metric", "nimg", "values", "protocol", "seconds", "time", "checkpoint")
    evaluations = [{"metric": "kid"} | {name: strange} for name in names]
    text = "\n".join(map(json.dumps, [*evaluations, {"metric": "a", "values": {"b": strange}}]))
    (folder / "evaluations.jsonl").write_text(text)
    (folder / ".run.json").write_text(json.dumps({"host": strange}))
    _, reader = page_of(folder)
    assert "D is too strong" in reader.text and "Losses of G and D" in reader.text


def test_growth_and_figures(make_run, rng):
    folder = make_run()
    for name in ("growth", "truncation"):
        picture = rng.integers(0, 255, (64, 64, 3), dtype="uint8")
        save_png(folder / f"{name}.png", picture)
    _, reader = page_of(folder)
    alts = [attrs["alt"] for tag, attrs in reader.tags if tag == "img"]
    assert "Samples of run at each resolution that was grown" in alts and "Truncation, run" in alts
    assert "No truncation sweep" not in reader.text


def test_a_page_keeps_its_limit(make_run, rng):
    folder = make_run(grids=())
    for kimg in range(3):
        picture = rng.integers(0, 255, (128, 256, 3), dtype="uint8")
        save_png(folder / "samples" / f"fakes_{kimg:06d}.png", picture)
    whole = len(page_of(folder)[0].encode())
    limit = whole - 200_000
    text, reader = page_of(folder, max_bytes=limit)
    assert len(text.encode()) <= limit and "to keep this page small (--max_mb)" in reader.text


def test_ranking(make_run):
    values = {"a": (3.0, 0.1), "b": (1.0, 0.3), "c": (2.0, 0.2)}
    runs = []
    for name, (fid, recall) in values.items():
        lines = [{"kimg": 1.0, "fid": fid, "recall": recall}]
        runs += read_runs([str(make_run(name, lines=lines))])
    found = rank(runs, [summarise(run) for run in runs])
    assert [(name, words) for name, words, _ in found] == [
        ("fid", "lower is better"),
        ("recall", "higher is better"),
    ]
    assert [[row[0] for row in rows] for _, _, rows in found] == [[1, 2, 0], [1, 2, 0]]


def test_numbers_and_values():
    shown = {25000: "25,000", 12.345678: "12.35", 0.00012: "0.00012", float("nan"): "nan", 0: "0"}
    assert {value: show_number(value) for value in shown if value == value} == {
        value: text for value, text in shown.items() if value == value
    }
    assert show_number(float("nan")) == "nan" and show_number("x") == "x"
    assert show_value({"a": 1.5, "b": [1, None]}) == "a=1.5, b=[1, null]"
    assert show_value(True) == "true" and len(show_value("x" * 5000)) < 400
