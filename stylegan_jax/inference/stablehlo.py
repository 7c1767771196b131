"""A sampler as one function of StableHLO, which draws without this package.

The file is an `.npz`. Its entry `program` is what `jax.export` wrote, for any batch and for several
platforms; `about` is a text of JSON; all others are the arrays that the program takes first. So a
process that has jax and NumPy alone draws with

    arrays = dict(np.load("faces.npz"))
    about = json.loads(arrays.pop("about").tobytes())
    program = jax.export.deserialize(bytearray(arrays.pop("program")))
    images = jax.jit(program.call)(arrays, z, psi)  # in the order of about["inputs"]

Parameters are arrays of the file and no constants of the program: a compiler would fold what is
computed from constants, which takes minutes and memory, and they would be there twice.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.export  # not brought along by jax itself
import jax.numpy as jnp
import numpy as np
from etils import epath
from flax import traverse_util

from stylegan_jax.convert.networks import LoadedNetwork
from stylegan_jax.files import replacing
from stylegan_jax.inference.programs import (
    Structure,
    draw_images,
    map_latents,
    to_grey_levels,
    truncate_styles,
)
from stylegan_jax.models import GENERATORS, make_model
from stylegan_jax.ops.formulation import FORMULATIONS

# As jax calls them.
PLATFORMS = ("cpu", "cuda", "tpu")


def write_sampler(
    path: epath.PathLike,
    network: LoadedNetwork,
    structure: Structure,
    *,
    platforms: Sequence[str] = PLATFORMS,
    as_uint8: bool = True,
    class_names: Sequence[str] = (),
) -> None:
    """Writes a function from latents to images, with stored noise.

    Its inputs after the arrays are `z`, float32 `[n, z_dim]`; of networks with labels `c`, float32
    `[n, c_dim]`; of those with styles `psi`, float32 `[n]`, 1 for no truncation.

    Args:
        path: A file that ends in .npz, local or in a bucket.
        network: The generator.
        structure: Says how far it has grown.
        platforms: Where it is to run, some of `PLATFORMS`. For one alone the program is written as
            suits that platform; one for several is written plainly.
        as_uint8: Images are uint8, else float32 in about [-1, 1].
        class_names: Of the labels.

    Raises:
        ValueError: Another name, or a platform that is not known.
    """
    path = epath.Path(path)
    if path.suffix.lower() != ".npz":
        raise ValueError(f"{path}: give the name of a file that ends in .npz.")
    if not platforms or set(platforms) - set(PLATFORMS):
        raise ValueError(f"platforms={list(platforms)}: give some of {', '.join(PLATFORMS)}.")

    # Written for one platform, or as all can compute it.
    formulation = FORMULATIONS["tpu" if tuple(platforms) == ("tpu",) else "cpu"]
    graphdef, _ = make_model(GENERATORS[network.name], **network.kwargs, formulation=formulation)
    kwargs = network.kwargs
    inputs = {"z": kwargs["z_dim"], "c": kwargs["c_dim"], "psi": None}
    if not kwargs["c_dim"]:
        del inputs["c"]
    if "w_avg" not in network.buffers:
        del inputs["psi"]
    arrays = _flat_arrays(network)
    sample = _make_sample(structure._replace(graphdef=graphdef), tuple(inputs), as_uint8)
    program = _export(sample, arrays, inputs, platforms)

    about = {
        "inputs": {name: ["n"] if size is None else ["n", size] for name, size in inputs.items()},
        "output": ["n", *network.size, kwargs["img_channels"]],
        "dtype": "uint8" if as_uint8 else "float32",
        "family": network.name,
        "platforms": list(platforms),
        "class_names": list(class_names),
    }
    entries: dict[str, Any] = {
        "program": np.frombuffer(program, np.uint8),
        "about": np.frombuffer(json.dumps(about).encode(), np.uint8),
        **arrays,
    }
    with replacing(path) as file, file.open("wb") as stream:
        np.savez(stream, **entries)


def _flat_arrays(network: LoadedNetwork) -> dict[str, np.ndarray]:
    """Arrays by their path, as an `.npz` holds them."""
    trees = {"params": network.params, **network.buffers}
    flat: dict[str, Any] = traverse_util.flatten_dict(trees, sep="/")
    return {name: np.asarray(value) for name, value in flat.items()}


def _make_sample(
    structure: Structure, inputs: tuple[str, ...], as_uint8: bool
) -> Callable[..., jax.Array]:
    """Returns `(arrays, *inputs) -> images`, a pure function."""

    def sample(arrays: dict[str, jax.Array], *values: jax.Array) -> jax.Array:
        trees = traverse_util.unflatten_dict(arrays, sep="/")
        given = dict(zip(inputs, values))
        z = given["z"]
        c = given.get("c", jnp.zeros((z.shape[0], 0)))

        # Latents to styles.
        ws = map_latents(structure, trees["params"], z, c)
        if "psi" in given:
            ws = truncate_styles(ws, trees["w_avg"], given["psi"], ws.shape[1])

        # Styles to images.
        moving, noise = trees.get("moving", {}), trees.get("noise_const")
        images = draw_images(structure, trees["params"], moving, ws, noise)
        return to_grey_levels(images) if as_uint8 else images

    return sample


def _export(
    sample: Callable[..., jax.Array],
    arrays: dict[str, np.ndarray],
    inputs: dict[str, int | None],
    platforms: Sequence[str],
) -> bytes:
    """Lowers a sampler for any number of images and writes it down."""
    scope = jax.export.SymbolicScope()
    shapes = {name: "n" if size is None else f"n, {size}" for name, size in inputs.items()}
    specs = [
        jax.ShapeDtypeStruct(jax.export.symbolic_shape(shape, scope=scope), jnp.float32)
        for shape in shapes.values()
    ]
    there = {name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in arrays.items()}
    exported = jax.export.export(jax.jit(sample), platforms=list(platforms))(there, *specs)
    return bytes(exported.serialize())
