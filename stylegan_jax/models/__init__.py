"""Networks: what maps latents to images and images to logits."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
from flax import nnx

from stylegan_jax.models import (
    progan,
    progressive_discriminator,
    stylegan1,
    stylegan2,
    stylegan2_discriminator,
    stylegan3,
)
from stylegan_jax.models.blocks import BaseGenerator, Network

NetworkT = TypeVar("NetworkT", bound=Network)
ModuleT = TypeVar("ModuleT", bound=nnx.Module)

GENERATORS: dict[str, type[BaseGenerator]] = {
    "progan": progan.Generator,
    "stylegan1": stylegan1.Generator,
    "stylegan2": stylegan2.Generator,
    "stylegan3": stylegan3.Generator,
}
DISCRIMINATORS: dict[str, type[Network]] = {
    "progressive": progressive_discriminator.Discriminator,
    "stylegan2": stylegan2_discriminator.Discriminator,
}

# Under which every network computes in float32 alone; the parameters are the same.
IN_FLOAT32 = {"num_bf16_res": 0}


def make_model(
    build: Callable[..., ModuleT], **kwargs: Any
) -> tuple[nnx.GraphDef[ModuleT], Callable[[jax.Array], dict[str, Any]]]:
    """Splits a network into its structure and the function that draws its first parameters.

    Args:
        build: A class of `GENERATORS` or `DISCRIMINATORS`, or `make` of a frozen network.
        **kwargs: Its arguments, without `rngs`.

    Returns:
        `(graphdef, init)`: `nnx.merge(graphdef, params)` is the network, `init(key)` a nested
        dict of float32 parameters. `init` is pure: jit it, shard it, or take its shapes.
    """

    def init(key: jax.Array) -> dict[str, Any]:
        module = build(**kwargs, rngs=nnx.Rngs(key))
        return nnx.to_pure_dict(nnx.state(module, nnx.Param))

    graphdef, _ = nnx.split(nnx.eval_shape(lambda: build(**kwargs, rngs=nnx.Rngs(0))))
    return graphdef, init
