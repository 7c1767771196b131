"""Runners of the `ops_*` cases."""

import dataclasses
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from stylegan_jax.ops.bias_act import bias_act
from stylegan_jax.ops.conv import conv2d_resample
from stylegan_jax.ops.filter_design import design_lowpass_filter, kaiser_window
from stylegan_jax.ops.filtered_lrelu import filtered_lrelu
from stylegan_jax.ops.fir import downsample2d, filter2d, setup_filter, upfirdn2d, upsample2d
from stylegan_jax.ops.formulation import platform_formulation
from stylegan_jax.ops.modulated_conv import modulated_conv2d, modulated_conv2d_normalized
from stylegan_jax.ops.normalize import minibatch_stddev
from tests.parity.case import Case, to_hwio, to_nchw, to_nhwc


def upfirdn2d_cases(case: Case) -> None:
    """Every combination of filter, factors and padding."""
    x = to_nhwc(case["in/x"])
    for name, call in case.args["calls"].items():
        call = dict(call)
        taps = case.filter(call.pop("filter"))
        run = jax.jit(partial(upfirdn2d, taps=taps, **call))
        case.check(f"out/{name}", to_nchw(run(x)))


def filter_cases(case: Case) -> None:
    """filter2d, upsample2d and downsample2d with their own padding."""
    ops = {"filter2d": filter2d, "upsample2d": upsample2d, "downsample2d": downsample2d}
    x = to_nhwc(case["in/x"])
    for name, call in case.args["calls"].items():
        call = dict(call)
        op, taps = ops[call.pop("op")], case.filter(call.pop("filter"))
        run = jax.jit(partial(op, taps=taps, **call))
        case.check(f"out/{name}", to_nchw(run(x)))


def setup_filter_cases(case: Case) -> None:
    """Preparation of FIR taps."""
    for name, call in case.args["calls"].items():
        case.check(f"out/{name}", setup_filter(**call))


def bias_act_cases(case: Case) -> None:
    """Values, first gradients and second gradients of every activation."""
    x, dy, ddx = (jnp.asarray(case[f"in/{n}"]) for n in ("x", "dy", "ddx"))

    def outputs(x, b, **kwargs):
        y, vjp = jax.vjp(partial(bias_act, **kwargs), x, b)
        dx, db = vjp(dy)

        def grad_product(x):
            return jnp.sum(jax.vjp(partial(bias_act, **kwargs), x, b)[1](dy)[0] * ddx)

        return {"y": y, "dx": dx, "db": db, "d2x": jax.grad(grad_product)(x)}

    # The calls under their own names are stored without gradients.
    calls = {n: c for n, c in case.args.items() if n != "calls"}
    for name, call in (case.args["calls"] | calls).items():
        call = dict(call)
        b = call.pop("b", None)
        got = jax.jit(partial(outputs, axis=call.pop("dim", 1), **call))(
            x, None if b is None else jnp.asarray(case[f"in/{b}"])
        )
        if name in calls:
            case.check(f"out/{name}", got["y"])
            continue
        for part, value in got.items():
            case.check(f"out/{part}{name}", value)


def conv2d_resample_cases(case: Case) -> None:
    """Convolution with FIR up- and down-sampling; flip_weight=False convolves."""
    x = to_nhwc(case["in/x"])
    for name, call in case.args["calls"].items():
        call = dict(call)
        weight = to_hwio(case["in/" + call.pop("w")], flip=not call.pop("flip_weight", True))
        taps = case.filter(call.pop("f"))
        run = jax.jit(partial(conv2d_resample, taps=taps, **call))
        case.check(f"out/{name}", to_nchw(run(x, weight)))


def modulated_conv2d_cases(case: Case) -> None:
    """Modulated convolutions, and the gradients of one of them."""
    x, styles = to_nhwc(case["in/x"]), case["in/styles"]

    def op(call):
        noise = call.get("noise")
        return partial(
            modulated_conv2d,
            noise=None if noise is None else to_nhwc(case[f"in/{noise}"]),
            taps=case.filter(call.get("resample_filter", "f")),
            demodulate=call["demodulate"],
            up=call.get("up", 1),
            down=call.get("down", 1),
            padding=call["padding"],
        )

    def kernel(call):
        return to_hwio(case[f"in/{call['w']}"], flip=not call["flip_weight"])

    for name, call in case.args["calls"].items():
        case.check(f"out/{name}", to_nchw(jax.jit(op(call))(x, kernel(call), styles)))

    call = case.args["grad"]
    y, vjp = jax.vjp(jax.jit(op(call)), x, kernel(call), styles)
    dx, dw, dstyles = vjp(to_nhwc(case["in/grad_dy"]))
    dw = np.asarray(dw) if call["flip_weight"] else np.asarray(dw)[::-1, ::-1]
    case.check("out/grad_y", to_nchw(y))
    case.check("out/grad_dx", to_nchw(dx))
    case.check("out/grad_dstyles", dstyles)
    case.check(f"out/grad_d{call['w']}", dw.transpose(3, 2, 0, 1))


def modulated_conv2d_normalized_cases(case: Case) -> None:
    """StyleGAN3's modulated convolutions, with every shape of the input's gain."""
    x, styles = to_nhwc(case["in/x"]), jnp.asarray(case["in/styles"])
    for name, call in case.args["calls"].items():
        gain = call["input_gain"]
        run = partial(
            modulated_conv2d_normalized,
            demodulate=call["demodulate"],
            padding=call["padding"],
            input_gain=None if gain is None else jnp.asarray(case[f"in/{gain}"]),
        )
        kernel = to_hwio(case[f"in/{call['w']}"])
        case.check(f"out/{name}", to_nchw(run(x, kernel, styles)))


def fir_design_cases(case: Case) -> None:
    """Filters by their specification, and their windows."""
    for row in case.args["table"]:
        taps = design_lowpass_filter(
            row["numtaps"], row["cutoff"], row["width"], row["fs"], radial=row["radial"]
        )
        case.check(f"out/{row['key']}", taps)
    for name in case.below("out/kaiser_"):
        num_taps, width = re.fullmatch(r"n(\d+)_w([\d.]+)", name).groups()
        window = kaiser_window(int(num_taps), float(width))
        case.check(f"out/kaiser_{name}", np.asarray(window))


def filtered_lrelu_cases(case: Case) -> None:
    """Every combination of filters, factors, padding and activation; gradients of one."""
    x = to_nhwc(case["in/x"])

    def op(call):
        given = {"gain", "slope", "clamp", "flip_filter"} & set(call)
        return partial(
            filtered_lrelu,
            up_taps=case.filter(call["fu"]),
            down_taps=case.filter(call["fd"]),
            up=call["up"],
            down=call["down"],
            padding=call["padding"],
            **{name: call[name] for name in given},
        )

    # By axes, which need not be compiled anew for every activation; the last call and the gradient
    # by phases.
    by_axes = dataclasses.replace(platform_formulation(), phases_from=None)
    by_phases = dataclasses.replace(by_axes, phases_from=0)
    *_, last = case.args["calls"]
    for name, call in case.args["calls"].items():
        bias = None if call["b"] is None else jnp.asarray(case[f"in/{call['b']}"])
        run = partial(op(call), formulation=by_phases if name == last else by_axes)
        case.check(f"out/{name}", to_nchw((jax.jit(run) if name == last else run)(x, bias)))

    run = partial(op(case.args["grad"]), formulation=by_phases)
    y, vjp = jax.vjp(jax.jit(run), x, jnp.asarray(case["in/b"]))
    dx, db = vjp(to_nhwc(case["in/grad_dy"]))
    case.check("out/grad_y", to_nchw(y))
    case.check("out/grad_dx", to_nchw(dx))
    case.check("out/grad_db", db)


def minibatch_stddev_cases(case: Case) -> None:
    """The appended statistics, with the original's strided groups."""
    for name, call in case.args["calls"].items():
        x = to_nhwc(case["in/" + call["x"]])
        num_channels = call["num_channels"]
        run = partial(
            minibatch_stddev,
            group_size=call["group_size"],
            num_channels=num_channels,
            grouping="strided",
        )
        y = np.asarray(jax.jit(run)(x))
        case.check(f"out/{name}", y[:, 0, 0, -num_channels:])
