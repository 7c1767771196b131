"""What the command writes, and what each cell of its picture is."""

import json

import numpy as np
import pytest
from PIL import Image

from stylegan_jax.tools.directions.__main__ import choose_layers, edit_figure, find_directions
from stylegan_jax.tools.directions.methods import Directions
from stylegan_jax.tools.figures.picture import render
from tests.commands import run_module


def test_cells_are_moved_styles(generator):
    vectors = np.eye(16, dtype=np.float32)[[3, 5]]
    found = Directions(vectors, np.array([0.5, 0.25]), np.array([2.0, 4.0]))
    figure = edit_figure(generator, found, seed=7, layers=[1, 4], strengths=[-1, 0, 0.5])
    assert figure.cells.shape == (2, 3, 16, 16, 3)
    assert figure.row_labels == ["0, 50 %", "1, 25 %"]
    assert figure.col_labels == ["-1", "+0", "+0.5"]
    ws = generator.styles([7] * 6)
    # Strengths times scales, row after row; the image itself at 0.
    for cell, entry, move in ((0, 3, -2), (2, 3, 1), (3, 5, -4), (5, 5, 2)):
        ws[cell, [1, 4], entry] += move
    want = generator.synthesis(ws, generator.stored_noise()).reshape(2, 3, 16, 16, 3)
    np.testing.assert_array_equal(figure.cells, want)
    assert np.any(want[0, 0] != want[0, 1]) and np.any(want[1, 2] != want[0, 1])


def test_the_command_line(workdir, generator, tmp_path, monkeypatch):
    out = tmp_path / "d.png"
    words = ["stylegan_jax.tools.directions", f"--checkpoint={workdir}", f"--out={out}"]
    words += ["--method=sefa", "--layers=2-4", "--num_samples=50", "--strengths=-1,1", "--seed=3"]
    run_module(monkeypatch, [*words, "--num_directions=2"])
    found = find_directions(generator, "sefa", layers=[2, 3, 4], num_directions=2, num_samples=50)
    with np.load(tmp_path / "d.npz") as arrays:
        np.testing.assert_array_equal(arrays["directions"], found.vectors)
        np.testing.assert_array_equal(arrays["scale"], found.scale)
        w_avg = generator.styles([0], truncation_psi=0.0)[0, 0]
        np.testing.assert_allclose(arrays["w_avg"], w_avg, rtol=0, atol=1e-6)
    settings = json.loads((tmp_path / "d.json").read_text())
    assert (settings["method"], settings["layers"]) == ("sefa", "2-4")
    figure = edit_figure(generator, found, seed=3, layers=[2, 3, 4], strengths=[-1, 1])
    with Image.open(out) as picture:
        np.testing.assert_array_equal(np.asarray(picture), render(figure))


def test_what_is_refused(generator, monkeypatch):
    assert choose_layers(generator, None) == list(range(6))
    assert choose_layers(generator, "4,1-2,2") == [1, 2, 4]
    with pytest.raises(ValueError, match="layers=4-6: this network has the styles 0-5"):
        choose_layers(generator, "4-6")
    with pytest.raises(ValueError, match="num_samples=1"):
        find_directions(generator, "pca", layers=[0], num_samples=1)
    monkeypatch.setattr(generator, "has_styles", False)
    with pytest.raises(ValueError, match="--method=pca: .* Choose --method=sefa"):
        find_directions(generator, "pca", layers=[0])
