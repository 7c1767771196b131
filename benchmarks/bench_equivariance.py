"""Equivariance of untrained networks: what the architecture gives before anything is learned.

    python -m benchmarks.bench_equivariance [--resolution=64] [--channels=64] [--num_images=32]
    python -m benchmarks.bench_equivariance --networks=stylegan3-t,stylegan3-r --save=networks/

StyleGAN3 in both configs, with as many layers and such margins and filters as in the paper, and
StyleGAN2 with Fourier features (config B). All have a pixel deviation of 0.5 within images, as
photographs of [-1, 1] have about: errors are compared with a range of 2, and a fainter image has
smaller ones. `--save` keeps the networks, as exports that the tools draw.
"""

import argparse
import pathlib
import tempfile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from stylegan_jax.convert.export import write_export
from stylegan_jax.convert.networks import LoadedCheckpoint, LoadedNetwork
from stylegan_jax.metrics.names import parse_names
from stylegan_jax.models import GENERATORS, make_model
from stylegan_jax.models.blocks import broadcast_ws, make_noise
from stylegan_jax.run.scores import make_metrics
from stylegan_jax.tools.evaluate.subjects import make_key, open_generator

# Name -> family, factor on the channels, and what differs from the family's defaults.
NETWORKS: dict[str, tuple[str, int, dict[str, Any]]] = {
    "stylegan2-b": ("stylegan2", 1, dict(input="fourier")),
    "stylegan3-t": ("stylegan3", 1, dict()),
    "stylegan3-r": ("stylegan3", 2, dict(conv_kernel=1, use_radial_filters=True)),
}
METRICS = "eqt{0}_int,eqt{0}_frac,eqr{0}"
# Within images, over their pixels.
_CONTRAST = 0.5
_LATENTS = 32


def make_network(name: str, resolution: int, channels: int, **changes: Any) -> LoadedNetwork:
    """Makes a network of random weights whose layers know how large their inputs are.

    Args:
        name: One of `NETWORKS`.
        resolution: Of its images.
        channels: Most feature maps; half as many from a quarter of the resolution on.
        **changes: Arguments of its constructor.
    """
    family, factor, different = NETWORKS[name]
    kwargs = dict(z_dim=64, c_dim=0, w_dim=64, img_resolution=resolution, img_channels=3)
    kwargs |= dict(channel_max=factor * channels, channel_base=factor * channels * resolution // 4)
    kwargs |= dict(mapping_layers=2) | different | changes
    graphdef, init = make_model(GENERATORS[family], **kwargs)
    params = jax.jit(init)(jax.random.key(0))
    G = nnx.merge(graphdef, params)
    noise = make_noise(jax.random.key(1), 1, G.noise_layers, resolution)

    # One pass that remembers nothing from before.
    @jax.jit
    def draw(params, moving, z):
        G = nnx.merge(graphdef, params)
        ws = broadcast_ws(G.mapping(z, jnp.zeros((len(z), 0))), G.num_ws)
        return G.synthesis(ws, noise, moving, ema_beta=0.0)

    z = jax.random.normal(jax.random.key(2), (_LATENTS, G.z_dim))
    img, moving = draw(params, G.init_moving(), z)
    contrast = float(jnp.std(img, axis=(1, 2)).mean())
    if family == "stylegan3":
        kwargs["output_scale"] = G.synthesis.output_scale * _CONTRAST / contrast
    else:
        params = jax.tree_util.tree_map_with_path(
            lambda path, x: x * _CONTRAST / contrast if _gives_colours(path) else x, params
        )
    buffers = {"w_avg": np.zeros(G.w_dim, np.float32)}
    buffers |= {"noise_const": noise} if noise else {}
    buffers |= {"moving": moving} if moving else {}
    params, buffers = jax.tree.map(np.asarray, (params, buffers))
    return LoadedNetwork(family, kwargs, params, buffers)


def _gives_colours(path: tuple[Any, ...]) -> bool:
    """Tells whether a parameter scales the image, which is linear in it."""
    names = jax.tree_util.keystr(path)
    return "torgb" in names and names.endswith("['weight']") and "affine" not in names


def measure(network: LoadedNetwork, path: pathlib.Path, num_images: int) -> dict[str, float]:
    """Writes a network and scores it as `tools.evaluate` does; dB by name."""
    write_export(path, LoadedCheckpoint({"G_ema": network}))
    nothing = dict(data=None, data_dir=None, mirror=None, per_class=False)
    (subject,) = open_generator(
        str(path), step="latest", network="G_ema", seed=0, cache_dir=str(path.parent), **nothing
    )
    names = parse_names(METRICS.format(num_images))
    key = make_key(0, 1, subject.context.frozen.mesh)
    values: dict[str, float] = {}
    for score in make_metrics(names, subject.context):
        values |= score.metric.evaluate(subject.draw, key)
    return values


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--num_images", type=int, default=32)
    parser.add_argument("--num_layers", type=int, help="of StyleGAN3; default 14")
    parser.add_argument("--save", help="folder of the networks")
    options = parser.parse_args()
    print("| untrained | EQ-T, whole pixels | EQ-T, any distance | EQ-R |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(options.save or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in options.networks.split(","):
            given = options.num_layers and NETWORKS[name][0] == "stylegan3"
            changes = {"num_layers": options.num_layers} if given else {}
            network = make_network(name, options.resolution, options.channels, **changes)
            values = measure(network, folder / f"{name}.safetensors", options.num_images)
            print(f"| {name} | " + " | ".join(f"{v:.1f} dB" for v in values.values()) + " |")


if __name__ == "__main__":
    main()
