"""Generators of every kind of checkpoint, by one function."""

import subprocess
import sys

import numpy as np
import pytest

import stylegan_jax
from stylegan_jax.convert.export import write_export
from stylegan_jax.convert.readers.records import CheckpointFileError
from stylegan_jax.run.networks import load_networks
from tests.convert.official import CHECKPOINTS


@pytest.fixture(scope="module")
def export(noisy, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "tiny.safetensors"
    write_export(path, load_networks(noisy[0], networks=["G_ema"]))
    return path


def test_a_run_a_step_and_an_export_draw_the_same(workdir, generator, export):
    want = generator.sample([3, 85], dtype="float32")
    for path, kwargs in (
        (workdir / "checkpoints", {}),
        (workdir / "checkpoints" / "16", {}),
        (workdir, dict(step="16")),
        (workdir, dict(step=16, compute_dtype="float32")),
        (export, {}),
    ):
        G = stylegan_jax.load(path, **kwargs)
        np.testing.assert_array_equal(G.sample([3, 85], dtype="float32"), want)
        assert G.fingerprint() == generator.fingerprint()
        assert (G.origin.path, G.origin.kimg) == (str(path), 0.016)
    assert G.origin.source == str(workdir)


@pytest.mark.parametrize(
    ("name", "family"),
    [("sg2ada_r16_proto4", "stylegan2"), ("tf_stylegan1_r16", "stylegan1")],
)
def test_other_projects(name, family):
    G = stylegan_jax.load(CHECKPOINTS / f"{name}.pkl")
    assert G.origin.family == family and G.origin.kimg is None
    images = G.sample([0], truncation_psi=0.7)
    assert images.shape == (1, *G.size, G.img_channels) and np.ptp(images) > 0


def test_half_the_precision(workdir, generator):
    """bfloat16 has 8 bits, and this network few layers."""
    half = stylegan_jax.load(workdir, compute_dtype="bfloat16").sample([3], dtype="float32")
    whole = generator.sample([3], dtype="float32")
    assert 0 < np.abs(half - whole).max() < 0.05 * np.ptp(whole)


def test_errors_say_what_to_do(workdir, export, tmp_path):
    for path, kwargs, error, message in (
        (workdir, dict(network="D"), ValueError, "network='D' draws no images: give G_ema"),
        (workdir, dict(network="G"), ValueError, "none of the networks G"),
        (export, dict(network="G"), CheckpointFileError, "has the networks G_ema, and none of G"),
        (export, dict(step=3), ValueError, "is a file, which has no steps"),
        (workdir, dict(step=17), FileNotFoundError, "there are"),
        (tmp_path / "nothing", {}, FileNotFoundError, "does not exist"),
        (tmp_path, {}, FileNotFoundError, "no finished checkpoint"),
        (workdir, dict(compute_dtype="float16"), ValueError, "give float32 or bfloat16"),
    ):
        with pytest.raises(error, match=message):
            stylegan_jax.load(path, **kwargs)


def test_a_file_of_a_discriminator(tmp_path):
    pickle = CHECKPOINTS / "sg2ada_r16_proto4.pkl"
    write_export(tmp_path / "D.safetensors", load_networks(pickle, networks=["D"]))
    with pytest.raises(CheckpointFileError, match="has the networks D, and none of G_ema"):
        stylegan_jax.load(tmp_path / "D.safetensors")


def test_an_export_needs_no_code_of_training(export):
    """And the package alone brings neither jax nor flax along."""
    program = f"""
import sys, stylegan_jax
assert not {{"jax", "flax", "numpy"}} & set(sys.modules), "import stylegan_jax is light"
assert stylegan_jax.load({str(export)!r}).size == (16, 16)
heavy = [m for m in sys.modules if m.startswith(("stylegan_jax.training", "stylegan_jax.run."))]
assert not heavy and "grain" not in sys.modules, heavy
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
