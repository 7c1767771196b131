"""Pictures of a size to look at; cells and runs as notebooks show them."""

import re
import subprocess
import sys

import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from stylegan_jax.tools import notebook
from stylegan_jax.tools.figures.picture import Figure


def test_small_images_are_enlarged_and_large_pictures_shrunk(rng):
    images = rng.integers(0, 256, (3, 32, 48, 3), np.uint8)
    picture = notebook.show_grid(images, 2)
    assert picture.size == (2 * 144, 2 * 96)  # pixels three times as large; the last cell is empty
    np.testing.assert_array_equal(np.asarray(picture)[1::3, 1::3][:32, 48:], images[1])
    assert notebook.show_grid(np.zeros((4, 1024, 2048, 1), np.uint8), 2).size == (2048, 1024)
    assert notebook.show_grid(images[..., :1], 3).mode == "L"


def test_a_figure_has_labels(rng):
    cells = rng.integers(0, 256, (1, 2, 128, 128, 3), np.uint8)
    width, height = notebook.show_figure(Figure(cells, ["row"], ["one", "two"])).size
    assert width > 256 and height > 128


def test_cells_say_how_long_they_took(tmp_path, capsys):
    no_history = Config(HistoryManager={"enabled": False})
    shell = InteractiveShell(config=no_history, ipython_dir=str(tmp_path))
    shell.user_ns["notebook"] = notebook
    # Twice, as a cell that is run again; the first of them had begun before.
    shell.run_cell("notebook.time_cells(get_ipython()); notebook.time_cells(get_ipython())")
    assert "s)" not in capsys.readouterr().out
    shell.run_cell("import time; time.sleep(0.1)")
    (seconds,) = re.fullmatch(r"\((\d+\.\d) s\)\n", capsys.readouterr().out).groups()
    assert float(seconds) >= 0.1


def test_a_run_that_fails_is_an_error(tmp_path, capsys):
    with pytest.raises(RuntimeError, match="ended with 1"):
        notebook.run_training("no_such_recipe", tmp_path / "run")
    assert "no_such_recipe" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform != "linux", reason="other systems tell no process of this")
def test_a_run_is_told_that_its_kernel_is_gone(tmp_path):
    """The kernel is killed, which it cannot answer; the run gets a SIGTERM, and answers."""
    run = """
import pathlib, signal, sys, time
def leave(*_):
    pathlib.Path(sys.argv[1]).write_text("saved")
    sys.exit()
signal.signal(signal.SIGTERM, leave)
print("runs", flush=True)
time.sleep(60)
"""
    command = notebook.ends_with_this_process([sys.executable, "-c", run, str(tmp_path / "told")])
    kernel = "import subprocess, sys; subprocess.run(sys.argv[1:], start_new_session=True)"
    with subprocess.Popen(
        [sys.executable, "-c", kernel, *command], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "runs\n"
        process.kill()
        # The pipe is closed when the last process is gone.
        assert process.stdout.read() == ""
    assert (tmp_path / "told").read_text() == "saved"
