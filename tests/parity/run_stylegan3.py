"""Runners of the StyleGAN3 networks and of their schedules."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from stylegan_jax.convert import stylegan2, stylegan3
from stylegan_jax.models import GENERATORS, make_model
from stylegan_jax.models.blocks import broadcast_ws, truncate
from stylegan_jax.models.stylegan3 import layer_filters
from stylegan_jax.models.stylegan3_schedule import LayerPlan, plan_layers
from tests.parity.case import Case, to_nchw, to_nhwc
from tests.parity.run_stylegan2 import check_shapes, model_kwargs

# Decays of the original where an entry states none.
W_AVG_BETA = 0.998
MAGNITUDE_EMA_BETA = 0.999
# Parameters of ours that are buffers there, and so have no gradient.
CONSTANT = ("synthesis.input.freqs", "synthesis.input.phases")


def make_generator(official: dict[str, Any]):
    """Structure of the generator that an entry describes."""
    return make_model(GENERATORS["stylegan3"], **model_kwargs(official))


def convert(arrays: dict[str, np.ndarray]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Our trees of a generator, or of its discriminator, which is StyleGAN2's."""
    table = stylegan3 if stylegan3.is_generator(arrays) else stylegan2
    return table.params_from_official(arrays)


def moving_of(buffers: Any) -> dict[str, Any]:
    """What the generator moves, of buffers as they are converted."""
    return {"synthesis": buffers["synthesis"]}


def schedule_cases(case: Case) -> None:
    """Tables of all resolutions of a config, and the taps of all filters."""
    for resolution in sorted({int(name.split("/")[1][1:]) for name in case.arrays}):
        plans = plan_layers(resolution, 3, **case.args["kwargs"], num_bf16_res=4)
        _check_plans(case, f"out/r{resolution}/", plans)
        for plan in plans:
            for kind, taps in zip(("up_filter", "down_filter"), layer_filters(plan)):
                # Stored with size 0: there is none.
                got = np.zeros(0) if taps is None else np.asarray(taps)
                case.offer(f"out/r{resolution}/{kind}/{plan.name}", got)


def _check_plans(case: Case, prefix: str, plans: tuple[LayerPlan, ...]) -> None:
    """Every column of a schedule."""
    for side, bands in (("in", [p.source for p in plans]), ("out", [p.target for p in plans])):
        case.check(f"{prefix}{side}_channels", [b.channels for b in bands])
        case.check(f"{prefix}{side}_size", [b.size[0] for b in bands])
        case.check(f"{prefix}{side}_sampling_rate", [b.rate for b in bands])
        case.check(f"{prefix}{side}_cutoff", [b.cutoff for b in bands])
        case.check(f"{prefix}{side}_half_width", [b.half_width for b in bands])
    columns = {
        "tmp_sampling_rate": "tmp_rate",
        "up_factor": "up",
        "down_factor": "down",
        "up_taps": "up_taps",
        "down_taps": "down_taps",
        "conv_kernel": "kernel_size",
        "padding": "padding",
    }
    for name, attribute in columns.items():
        case.check(f"{prefix}{name}", [getattr(plan, attribute) for plan in plans])
    flags = {
        "is_torgb": "is_torgb",
        "is_critically_sampled": "is_critical",
        "down_radial": "is_radial",
        "use_fp16": "is_bf16",
        "layer_names": "name",
    }
    for name, attribute in flags.items():
        case.compared.add(prefix + name)
        if case[prefix + name].tolist() != [getattr(plan, attribute) for plan in plans]:
            case.failures.append(f"{prefix}{name} differs")
    first = plans[0].source
    case.check(f"{prefix}input_size", first.size[0])
    case.check(f"{prefix}input_sampling_rate", first.rate)
    case.check(f"{prefix}input_bandwidth", first.cutoff)
    case.check(f"{prefix}input_channels", first.channels)
    case.check(f"{prefix}num_ws", len(plans) + 1)


def generator_cases(case: Case) -> None:
    """Schedule, features, layers, truncation, transforms, and averages that move; or gradients."""
    case.convert = convert
    kwargs = case.args["kwargs"]
    graphdef, init = make_generator(kwargs)
    params, buffers = case.trees("params/")
    check_shapes(init, params)
    z = jnp.asarray(case["in/z"])
    c = case.labels("in/c", len(z))
    if "in/R" in case:
        return _gradients(case, graphdef, params, moving_of(buffers), z, c)

    G = nnx.merge(graphdef, params)
    plans = [getattr(G.synthesis, name).plan for name in G.synthesis.layer_names]
    bf16 = {"num_fp16_res": kwargs.get("num_fp16_res", 4)}
    assert bf16 == {"num_fp16_res": 0}
    _check_plans(case, "out/schedule/", tuple(plans))

    # One program draws everything: what changes are arrays.
    draw = jax.jit(functools.partial(_draw, graphdef))
    moving, w_avg = moving_of(buffers), buffers["mapping"]["w_avg"]
    w, ws, near = jax.jit(functools.partial(_styles, graphdef, case.args.get("truncation_cutoff")))(
        params, w_avg, z, c
    )
    case.offer("out/ws", ws)
    case.offer("out/ws_psi0.6_cut", near)
    case.offer("out/after_update/mapping.w_avg", w.mean(0) + (w_avg - w.mean(0)) * W_AVG_BETA)
    still, beta = 1.0, kwargs.get("magnitude_ema_beta", MAGNITUDE_EMA_BETA)
    here = np.eye(3, dtype=np.float32)
    runs = {"": (ws, here, still), "_psi0.6_cut": (near, here, still)}
    runs |= {f"_transform{n}": (ws, t, still) for n, t in case.below("in/transform").items()}
    runs["_update_emas"] = (ws, here, beta)
    for name, (styles, transform, ema_beta) in runs.items():
        img, moved, features, layers = draw(params, styles, moving, transform, ema_beta)
        _offer_images(case, f"img{name}", img)
        _offer_images(case, f"input_features{name}", features)
        if not name:
            for layer, x in layers.items():
                _offer_images(case, f"layer/{layer}", x)
    for name, layer in moved["synthesis"].items():
        case.offer(f"out/after_update/synthesis.{name}.magnitude_ema", layer["magnitude_ema"])


def _offer_images(case: Case, name: str, got: Any) -> None:
    """Compares images; those stored with size 0 were not kept."""
    if case.arrays.get(f"out/{name}", np.ones(1)).size:
        case.offer(f"out/{name}", to_nchw(got))
    else:
        case.compared.add(f"out/{name}")


def _styles(graphdef, cutoff, params, w_avg, z, c):
    """Styles, mapped and truncated."""
    G = nnx.merge(graphdef, params)
    w = G.mapping(z, c)
    ws = broadcast_ws(w, G.num_ws)
    return w, ws, truncate(ws, w_avg, 0.6, cutoff)


def _draw(graphdef, params, ws, moving, transform, ema_beta):
    """The image, and what lies on the way to it."""
    G = nnx.merge(graphdef, params)
    img, moved = G.synthesis(ws, None, moving, transform=transform, ema_beta=ema_beta)
    layers = {}
    x = features = G.synthesis.input(ws[:, 0], transform)
    for i, name in enumerate(G.synthesis.layer_names):
        magnitude = moving["synthesis"][name]["magnitude_ema"]
        x, _ = getattr(G.synthesis, name)(x, ws[:, i + 1], magnitude, ema_beta)
        layers[name] = x
    return img, moved, features, layers


def _gradients(case, graphdef, params, moving, z, c) -> None:
    """Gradients of sum(img * R) for the latent and every parameter."""
    weights = to_nhwc(case["in/R"])

    def loss(params, z):
        img = nnx.merge(graphdef, params)(z, c, None, moving)
        return jnp.sum(img * weights), img

    (value, img), (grads, grad_z) = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))(
        params, z
    )
    case.offer("out/img", to_nchw(img))
    case.offer("out/loss", value)
    case.offer("out/grad_z", grad_z)
    case.check_official("out/grad/", grads, absent=CONSTANT)
