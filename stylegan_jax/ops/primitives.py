"""Operations whose derivatives we choose, to any order and in both modes of differentiation."""

import functools
from collections.abc import Callable
from typing import Any

import jax
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array


def make_primitive(name: str, compute: Callable[..., Array]) -> Primitive:
    """An operation that is compiled as `compute` has it.

    `compute` takes arrays and the static keywords with which the operation is bound; among these
    are `shape` and `dtype`, those of the result. The operation can be compiled, run eagerly and
    mapped; its derivatives are the caller's to define, by `linear` or `bilinear`.
    """
    primitive = Primitive(name)
    primitive.def_abstract_eval(lambda *_, shape, dtype, **statics: ShapedArray(shape, dtype))

    @functools.cache
    def compiled(**statics: Any) -> Callable[..., Array]:
        return jax.jit(functools.partial(primitive.bind, **statics))

    def run_eagerly(*args: Array, **statics: Any) -> Array:
        return compiled(**statics)(*args)

    def run_mapped(args: Any, axes: Any, **statics: Any) -> tuple[Array, int]:
        return jax.vmap(functools.partial(compute, **statics), axes)(*args), 0

    primitive.def_impl(run_eagerly)
    batching.primitive_batchers[primitive] = run_mapped
    mlir.register_lowering(primitive, mlir.lower_fun(compute, multiple_results=False))
    return primitive


def linear(primitive: Primitive, transpose: Callable[..., Array]) -> None:
    """Differentiates an operation on one array.

    `transpose(cotangent, shape, **statics)` computes the cotangent of the operand, of that shape.
    """

    def rule(cotangent: Any, x: Any, **statics: Any) -> list[Any]:
        if isinstance(cotangent, ad.Zero):
            return [ad.Zero(x.aval)]
        return [transpose(cotangent, x.aval.shape, **statics)]

    ad.deflinear2(primitive, rule)


def bilinear(primitive: Primitive, transpose: Callable[..., Array]) -> None:
    """Differentiates an operation that is linear in each of two arrays.

    `transpose(index, cotangent, other, shape, **statics)` computes the cotangent of operand
    `index`, of that shape, from the other operand.
    """

    def left(cotangent: Any, x: Any, y: Any, **statics: Any) -> Array:
        return transpose(0, cotangent, y, x.aval.shape, **statics)

    def right(cotangent: Any, x: Any, y: Any, **statics: Any) -> Array:
        return transpose(1, cotangent, x, y.aval.shape, **statics)

    ad.defbilinear(primitive, left, right)
