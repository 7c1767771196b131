"""The training state: everything that an iteration changes, in one pytree."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from stylegan_jax.training.optimizer import Optimizer

Params = dict[str, Any]
# Moving values by name: arrays, or nested as a network has them.
Stats = dict[str, Any]


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
        stats: Moving values: `w_avg` [w_dim], `pl_mean` [], those of the networks under `G` and
            `D`; and `noise_const`, the stored noise.
        skipped: Updates left out because of non-finite gradients, int32 per network.
        nimg: Real images seen, int32.
    """

    # Networks.
    G: Params
    D: Params
    G_ema: Params
    # What moves them.
    opt_G: Any
    opt_D: Any
    stats: Stats
    # Counters.
    skipped: dict[str, Any]
    nimg: Any


# The stored noise is drawn once, with the networks, and never moves.
_FIXED = ("noise_const",)


def moving_stats(stats: Stats) -> Stats:
    """Returns the values that a step may move."""
    return {name: value for name, value in stats.items() if name not in _FIXED}


def fixed_stats(stats: Stats) -> Stats:
    """Returns the values that no step moves."""
    return {name: value for name, value in stats.items() if name in _FIXED}


def init_state(
    G: Params, D: Params, opt_G: Optimizer, opt_D: Optimizer, stats: Stats
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
