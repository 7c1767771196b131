"""The training state: everything that an iteration changes, in one pytree."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from stylegan_jax.models.blocks import NoiseLayers, make_noise
from stylegan_jax.training.optimizer import Optimizer

Params = dict[str, Any]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """What a checkpoint holds of the networks.

    Attributes:
        G: Generator parameters, nested dict of float32.
        D: Discriminator parameters.
        G_ema: Moving average of G, the one to sample from.
        opt_G: Adam state of G, shared by its main and regularisation phases.
        opt_D: Adam state of D.
        stats: Moving values: `w_avg` [w_dim], `pl_mean` [], and `noise_const`, the stored noise.
        skipped: Updates left out because of non-finite gradients, int32 per network.
        nimg: Real images seen, int32.
    """

    G: Params
    D: Params
    G_ema: Params
    opt_G: Any
    opt_D: Any
    stats: dict[str, Any]
    skipped: dict[str, Any]
    nimg: Any


def init_stats(
    key: Array, *, w_dim: int, noise_layers: NoiseLayers, img_resolution: int
) -> dict[str, Any]:
    """First moving values; the stored noise is drawn once and kept."""
    return {
        "w_avg": jnp.zeros((w_dim,)),
        "pl_mean": jnp.zeros(()),
        "noise_const": make_noise(key, 1, noise_layers, img_resolution),
    }


def init_state(
    G: Params, D: Params, opt_G: Optimizer, opt_D: Optimizer, stats: dict[str, Any]
) -> TrainState:
    """State before the first image; `G_ema` starts as a copy of G."""
    return TrainState(
        G=G,
        D=D,
        G_ema=jax.tree.map(jnp.copy, G),
        opt_G=opt_G.init(G),
        opt_D=opt_D.init(D),
        stats=stats,
        skipped={"G": jnp.int32(0), "D": jnp.int32(0)},
        nimg=jnp.int32(0),
    )
