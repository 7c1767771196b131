"""The page in a browser: plots are drawn, the slider and keys change grids, nothing is refused."""

import html
import json
import re
import shutil
import subprocess

import pytest

from stylegan_jax.tools.report.page import write_page
from stylegan_jax.tools.report.reading import read_runs

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
# What a reader does, and what is seen then; it ends in a text that the browser prints.
ACTIONS = """
<script>
const errors = [];
addEventListener("error", (event) => errors.push(String(event.message)));
addEventListener("securitypolicyviolation", (event) => errors.push(event.violatedDirective));
const pixels = () => [...document.querySelectorAll(".grid img")].map((image) => image.src);
const press = (key) =>
  document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
const states = {};
const note = (name) =>
  (states[name] = {
    now: document.getElementById("now").textContent,
    at: [...document.querySelectorAll("figcaption span[id]")].map((part) => part.textContent),
    pictures: pixels(),
    alt: document.querySelector(".grid img").alt,
  });
const act = async () => {
  while (!document.body.dataset.drawn) await new Promise((resolve) => setTimeout(resolve, 50));
  note("start");
  const slider = document.getElementById("time");
  slider.value = 0;
  slider.dispatchEvent(new Event("input"));
  note("slider");
  press("ArrowRight");
  note("right");
  press("End");
  note("end");
  press("Home");
  document.getElementById("play").click();
  states.playing = document.getElementById("play").getAttribute("aria-pressed");
  while (document.getElementById("play").getAttribute("aria-pressed") === "true")
    await new Promise((resolve) => setTimeout(resolve, 50));
  note("played");
  document.querySelector(".picture").click();
  states.large = document.getElementById("large").open;
  const plots = [...document.querySelectorAll(".canvas")];
  states.plots = plots.map((plot) => plot.querySelectorAll("svg.main-svg path.js-line").length);
  states.wide = document.documentElement.scrollWidth > innerWidth;
  states.errors = errors;
  states.injected = Boolean(window.injected);
  const result = document.createElement("pre");
  result.id = "result";
  result.textContent = JSON.stringify(states);
  document.body.replaceChildren(result);
};
act();
</script>
"""


def look(path, *, width=1200):
    """Opens a page; returns what the actions saw, and lines of its console."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    options += [f"--window-size={width},2000", "--virtual-time-budget=60000", "--dump-dom"]
    options += [f"--user-data-dir={path.parent / 'profile'}", f"file://{path}"]
    done = subprocess.run([BROWSER, *options], capture_output=True, text=True, timeout=120)
    result = re.search(r'<pre id="result">(.*?)</pre>', done.stdout, re.S)
    assert result, done.stderr[-2000:]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(html.unescape(result[1])), console


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_a_reader(make_run):
    first = make_run("<img src=x onerror='window.injected=1'>", grids=(0, 1, 2))
    second = make_run("other", grids=(0, 2))
    text = write_page(read_runs([str(first), str(second)]), max_bytes=64_000_000)
    path = first.parent / "report.html"
    path.write_text(text.replace("</body>", ACTIONS + "</body>"), encoding="utf-8")
    seen, console = look(path, width=500)

    assert console == [] and seen["errors"] == [] and not seen["injected"]
    assert len(seen["plots"]) == 6 and all(count >= 2 for count in seen["plots"])
    # From the last grids to the first, to the next, which only one run has, and back.
    wanted = {"start": "2 kimg", "slider": "0 kimg", "right": "1 kimg", "end": "2 kimg"}
    assert {name: seen[name]["now"] for name in wanted} == wanted
    assert seen["right"]["at"] == ["1 kimg", "0 kimg"]
    assert seen["slider"]["at"] == ["0 kimg", "0 kimg"]
    start, slider, right = (seen[name]["pictures"] for name in ("start", "slider", "right"))
    assert len({start[0], slider[0], right[0]}) == 3
    assert right[1] == slider[1] != start[1]
    assert seen["end"] == seen["start"] and seen["right"]["alt"].endswith(" at 1 kimg")
    assert seen["playing"] == "true" and seen["played"] == seen["start"] and seen["large"]
    # On a phone nothing is wider than the screen.
    assert not seen["wide"]
