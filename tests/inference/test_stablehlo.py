"""Samplers in files: run again by a process that does not know this package."""

import json
import subprocess
import sys

import jax
import jax.export
import numpy as np
import pytest

PROGRAM = """
import json, sys
import jax, jax.export
import numpy as np

path, out = sys.argv[1:]
arrays = dict(np.load(path))
about = json.loads(arrays.pop("about").tobytes())
program = jax.export.deserialize(bytearray(arrays.pop("program")))
draw = jax.jit(program.call)
z = np.float32([np.random.RandomState(seed).randn(about["inputs"]["z"][1]) for seed in (3, 8, 85)])
psi = np.float32([0.7, 1, -0.5])
alone = [draw(arrays, z[i : i + 1], psi[i : i + 1]) for i in range(3)]
np.savez(out, alone=np.concatenate(alone), together=draw(arrays, z, psi))
assert "stylegan_jax" not in sys.modules
"""


def test_another_process_draws_the_same(generator, tmp_path):
    path = tmp_path / "sampler.npz"
    generator.export_stablehlo(path, dtype="float32")
    command = [sys.executable, "-c", PROGRAM, str(path), str(tmp_path / "drawn.npz")]
    subprocess.run(command, check=True, cwd=tmp_path)
    want = generator.sample([3, 8, 85], truncation_psi=[0.7, 1, -0.5], dtype="float32")
    with np.load(tmp_path / "drawn.npz") as drawn:
        # The second is not truncated: the same bits. Truncation rounds once or twice, as it is
        # compiled with what stands around it or alone.
        np.testing.assert_array_equal(drawn["alone"][1], want[1])
        np.testing.assert_allclose(drawn["alone"], want, rtol=0, atol=1e-5)
        # Programs of other batch sizes sum in another order.
        np.testing.assert_allclose(drawn["together"], want, rtol=0, atol=1e-4)


def read(path):
    arrays = dict(np.load(path))
    about = json.loads(arrays.pop("about").tobytes())
    return arrays, about, jax.export.deserialize(bytearray(arrays.pop("program")))


def test_inputs_are_those_of_the_network(make_generator, tmp_path):
    """Labels, grey levels, and one platform alone."""
    labelled = make_generator(0.5, class_names=["a", "b"])[1]
    labelled.export_stablehlo(tmp_path / "x.npz", platforms=["cpu"])
    arrays, about, program = read(tmp_path / "x.npz")
    assert about == {
        "inputs": {"z": ["n", 16], "c": ["n", 2], "psi": ["n"]},
        "output": ["n", 16, 16, 3],
        "dtype": "uint8",
        "family": "stylegan2",
        "platforms": ["cpu"],
        "class_names": ["a", "b"],
    }
    z, c = labelled.latents([5], "b")
    drawn = program.call(arrays, z, c, np.ones(1, np.float32))
    np.testing.assert_array_equal(drawn, labelled.sample([5], class_idx="b"))


def test_platforms(generator, tmp_path):
    generator.export_stablehlo(tmp_path / "all.npz")
    assert read(tmp_path / "all.npz")[2].platforms == ("cpu", "cuda", "tpu")
    # For TPUs alone as suits them: packed feature maps, which is another program.
    generator.export_stablehlo(tmp_path / "tpu.npz", platforms=["tpu"])
    assert read(tmp_path / "tpu.npz")[2].platforms == ("tpu",)


def test_errors_say_what_to_do(generator, tmp_path):
    with pytest.raises(ValueError, match="x.mlir: give the name of a file that ends in .npz"):
        generator.export_stablehlo(tmp_path / "x.mlir")
    with pytest.raises(ValueError, match=r"platforms=\['gpu'\]: give some of cpu, cuda, tpu"):
        generator.export_stablehlo(tmp_path / "x.npz", platforms=["gpu"])
    assert not list(tmp_path.iterdir())
