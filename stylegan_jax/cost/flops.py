"""FLOPs of a traced program: its matrix products and convolutions, zeros left out."""

import math
from typing import Any

import jax.extend as jex


def count_flops(jaxpr: Any) -> int:
    """Counts multiplications and additions of the products and convolutions in a closed jaxpr.

    Zeros that a dilated input would insert are not counted, so that a transposed convolution
    costs what its forward one does. Element-wise work is left out.
    """
    return _count(jaxpr.jaxpr)


def _count(jaxpr: Any) -> int:
    """Counts those of an open jaxpr and of all that is inside its operations."""
    total = 0
    for eqn in jaxpr.eqns:
        name = eqn.primitive.name
        if name == "dot_general":
            # Each output takes as many products and sums as there are contracted numbers.
            (contracted, _), _ = eqn.params["dimension_numbers"]
            shape = eqn.invars[0].aval.shape
            depth = math.prod(shape[axis] for axis in contracted)
            total += 2 * depth * eqn.outvars[0].aval.size
        elif name == "conv_general_dilated":
            total += _convolution_flops(eqn)
        elif name == "trilinear_convolution":
            total += _trilinear_flops(eqn)
        # Loops, branches, jitted functions: jaxprs among the parameters.
        total += _times(eqn) * sum(_count(inner) for inner in jex.core.jaxprs_in_params(eqn.params))
    return total


def _times(eqn: Any) -> int:
    """Tells how often what is inside an operation is done: in turn, or by several devices."""
    if eqn.primitive.name == "scan":
        return eqn.params["length"]
    if eqn.primitive.name == "shard_map":
        mesh = eqn.params["mesh"]
        return math.prod(mesh.shape[name] for name in eqn.params["newly_manual_axes"])
    return 1


def _trilinear_flops(eqn: Any) -> int:
    """Counts the same for all three roles: every output pixel times the taps of its kernel."""
    # x: images [n, h, w, i], y: maps [n, h, w, o], w: kernel [kh, kw, i, o]; the role is what comes
    # out, the other two go in.
    role = eqn.params["role"]
    shapes = dict(zip({"y": "xw", "x": "yw", "w": "xy"}[role], (v.aval.shape for v in eqn.invars)))
    shapes[role] = eqn.params["shape"]
    return 2 * math.prod(shapes["y"]) * math.prod(shapes["w"][:3])


def _convolution_flops(eqn: Any) -> int:
    """Counts twice the number of output pixels times the taps that reach an input pixel."""
    # Of the kernel, the axis of output channels comes first in the specification.
    numbers = eqn.params["dimension_numbers"]
    kernel = eqn.invars[1].aval.shape
    taps = math.prod(kernel[axis] for axis in numbers.rhs_spec[1:])
    dilation = math.prod(eqn.params["lhs_dilation"])
    return 2 * eqn.outvars[0].aval.size * taps // dilation
