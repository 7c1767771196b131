"""The command: what it writes, prints and refuses."""

import os
import subprocess
import sys

import pytest
from absl import app

from stylegan_jax.tools.command import telling_errors
from tests import gcs
from tests.commands import ROOT, run_module

NAME = "stylegan_jax.tools.report"


def test_a_page_is_written(make_run, tmp_path, monkeypatch, capsys):
    first, second = make_run("a"), make_run("b")
    out = tmp_path / "new" / "report.html"
    assert not run_module(monkeypatch, [NAME, str(first), str(second), f"--out={out}"])
    text = out.read_text("utf-8")
    assert text.startswith("<!doctype html>") and text.rstrip().endswith("</html>")
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]
    megabytes = len(text.encode()) / 1e6
    assert capsys.readouterr().out == f"wrote {out}: 2 run(s), {megabytes:.1f} MB\n"


def test_what_is_refused(make_run, tmp_path, monkeypatch, capsys):
    folder = make_run()
    wrong = {
        (f"{folder}", f"--out={tmp_path}/page.htm"): "give the name of a file that ends in .html",
        (f"{tmp_path}/gone", f"--out={tmp_path}/page.html"): "gone does not exist",
        (f"{folder}", f"--out={folder}/log.txt/page.html"): "log.txt is a file, where a folder",
    }
    for words, message in wrong.items():
        with pytest.raises((ValueError, OSError), match=message):
            run_module(monkeypatch, [NAME, *words])
    with pytest.raises(app.UsageError, match="WORKDIR"):
        run_module(monkeypatch, [NAME, f"--out={tmp_path}/page.html"])
    with pytest.raises(Exception, match="max_mb"):
        run_module(monkeypatch, [NAME, str(folder), f"--out={tmp_path}/x.html", "--max_mb=1"])
    assert not list(tmp_path.glob("*.html"))

    def main(argv):
        return run_module(monkeypatch, [NAME, "gone", f"--out={tmp_path}/page.html"])

    assert telling_errors(main)([]) == 2
    assert capsys.readouterr().err.startswith("error: gone does not exist")


@pytest.mark.slow
def test_a_run_in_a_bucket(make_run, workdir):
    """Read from there and written there, checkpoint and pictures too."""
    folder = make_run()
    (workdir / "checkpoints").rename(folder / "checkpoints")
    with gcs.serve("bucket") as cloud:
        for path in folder.rglob("*"):
            if path.is_file():
                name = path.relative_to(folder).as_posix()
                cloud.write("bucket", f"run/{name}", path.read_bytes())
        words = [sys.executable, "-m", NAME, "gs://bucket/run", "--out=gs://bucket/report.html"]
        env = (
            os.environ
            | cloud.environment()
            | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
        )
        done = subprocess.run(words, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        page = cloud.read("bucket", "report.html").decode()
    assert done.stdout.startswith("wrote gs://bucket/report.html: 1 run(s)")
    for words in ("2</b> of 3 kimg", "Samples of run at 2 kimg", "D is too strong", "0.016</td>"):
        assert words in page, words
