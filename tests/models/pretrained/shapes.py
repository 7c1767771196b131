"""Frozen networks with shapes for weights, made once in a process: nothing is drawn or compiled."""

import functools

import jax

from stylegan_jax.models import make_model


@functools.cache
def structure(make, **sizes):
    """`(graphdef, shapes)` of a published network, or of a smaller one."""
    graphdef, init = make_model(make, **sizes)
    return graphdef, jax.eval_shape(init, jax.random.key(0))
