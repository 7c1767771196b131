"""Runners of the StyleGAN2 networks."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from stylegan_jax.models import DISCRIMINATORS, GENERATORS, make_model
from stylegan_jax.models.blocks import broadcast_ws, truncate
from tests.parity.case import Case, to_nchw, to_nhwc

# Names of the originals under ours, by the group of arguments that they stand in.
_RENAMED = {
    "synthesis_kwargs": {"activation": "act"},
    "block_kwargs": {"activation": "act"},
    "epilogue_kwargs": {"activation": "epilogue_act"},
    "mapping_kwargs": {
        "activation": "mapping_act",
        "num_layers": "mapping_layers",
        "lr_multiplier": "mapping_lr_multiplier",
    },
}
# What no number depends on in float32, and the decay s that a case states for itself.
_NOT_OURS = (
    "kind",
    "num_fp16_res",
    "fused_modconv_default",
    "fp16_channels_last",
    "w_avg_beta",
    "magnitude_ema_beta",
)


def model_kwargs(official: dict[str, Any]) -> dict[str, Any]:
    """Constructor arguments of the original under our names."""
    kwargs = {k: v for k, v in official.items() if k not in _RENAMED}
    if "activation" in kwargs:
        kwargs["act"] = kwargs.pop("activation")  # outside of a group it is the synthesis's
    for group, renamed in _RENAMED.items():
        kwargs |= {renamed.get(k, k): v for k, v in official.get(group, {}).items()}
    assert kwargs.get("num_fp16_res", 0) == 0, "parity is defined in float32"
    if "resample_filter" in kwargs:
        # The original's None is the filter of one tap.
        kwargs["resample_filter"] = tuple(kwargs["resample_filter"] or (1,))
    return {name: value for name, value in kwargs.items() if name not in _NOT_OURS}


def make_generator(official: dict[str, Any]):
    """Structure of the generator that an entry describes."""
    return make_model(GENERATORS["stylegan2"], **model_kwargs(official))


def make_discriminator(official: dict[str, Any]):
    """Structure of the discriminator, with the original's strided stddev groups."""
    kwargs = model_kwargs(official)
    return make_model(DISCRIMINATORS["stylegan2"], **kwargs, mbstd_grouping="strided")


def check_shapes(init: Any, params: Any) -> None:
    """The converted tree has exactly the paths and shapes that the model makes."""
    ours = jax.eval_shape(init, jax.random.key(0))
    want = jax.tree.map(lambda x: x.shape, ours)
    assert jax.tree.map(lambda x: x.shape, params) == want


def generator_cases(case: Case) -> None:
    """Mapping, truncation, synthesis under every kind of noise, mixing; or gradients."""
    kwargs = case.args["kwargs"]
    graphdef, init = make_generator(kwargs)
    params, buffers = case.trees("params/")
    check_shapes(init, params)
    w_avg = stored_w_avg(case, buffers)
    noise_const = stored_noise(buffers)
    z = jnp.asarray(case["in/z"])
    c = case.labels("in/c", len(z))
    if "in/R" in case:
        return _generator_gradients(case, graphdef, params, noise_const, z, c)

    def outputs(params, noise_random):
        G = nnx.merge(graphdef, params)
        w = G.mapping(z, c)
        ws = broadcast_ws(w, G.num_ws)
        cutoff = case.args["truncation_cutoff"]
        psi = {
            "_psi0.7": truncate(ws, w_avg, 0.7),
            "_psi0.5_cut": truncate(ws, w_avg, 0.5, cutoff),
        }
        beta = case.args["w_avg_beta"]
        mixed = jnp.concatenate([ws[:1, :cutoff], ws[1:2, cutoff:]], axis=1)
        out = {"ws": ws, "w_avg_after_update": w.mean(0) + (w_avg - w.mean(0)) * beta}
        img = {
            "const": G.synthesis(ws, noise_const, {})[0],
            "none": G.synthesis(ws, None, {})[0],
            "random_noise": G.synthesis(ws, noise_random, {})[0],
            "stylemix_0_1": G.synthesis(mixed, noise_const, {})[0],
        }
        for name, ws_psi in psi.items():
            out[f"ws{name}"] = ws_psi
            img[f"const{name}"] = G.synthesis(ws_psi, noise_const, {})[0]
        return out, img

    noise = _noise_const_like(case.below("in/noise/"))
    out, img = jax.jit(outputs)(params, noise)
    for name, value in out.items():
        case.offer(f"out/{name}", value)
    for name, value in img.items():
        case.offer(f"out/img_{name}", to_nchw(value))


def _generator_gradients(case, graphdef, params, noise, z, c) -> None:
    """Gradients of sum(img * R) for the latent and every parameter."""
    weights = to_nhwc(case["in/R"])

    def loss(params, z):
        img = nnx.merge(graphdef, params)(z, c, noise, {})
        return jnp.sum(img * weights), img

    (value, img), (grads, grad_z) = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))(
        params, z
    )
    case.offer("out/img", to_nchw(img))
    case.offer("out/loss", value)
    case.offer("out/grad_z", grad_z)
    case.check_official("out/grad/", grads)


def discriminator_cases(case: Case) -> None:
    """Logits, features, the mapped label; or gradients."""
    graphdef, init = make_discriminator(case.args["kwargs"])
    params, _ = case.trees("params/")
    check_shapes(init, params)
    img = to_nhwc(case["in/img"])
    c = case.labels("in/c", len(img))
    weights = jnp.asarray(case["in/R"]) if "in/R" in case else None

    def outputs(params, img):
        D = nnx.merge(graphdef, params)
        out = {}
        x, rest = None, img
        for res in reversed(D.resolutions[1:]):
            x, rest = getattr(D, f"b{res}")(x, rest)
            out[f"feat_b{res}"] = x
        cmap = D.mapping(None, c) if D.cmap_dim > 0 else None
        logits, _ = D(img, c, {})
        return jnp.sum(logits * weights) if weights is not None else 0.0, (logits, out, cmap)

    grad = jax.jit(jax.value_and_grad(outputs, argnums=(0, 1), has_aux=True))
    (_, (logits, features, cmap)), (grads, grad_img) = grad(params, img)
    case.offer("out/logits", logits)
    for name, value in features.items():
        case.offer(f"out/{name}", to_nchw(value))
    case.offer("out/cmap", cmap)
    if weights is not None:
        case.offer("out/grad_img", to_nchw(grad_img))
        case.check_official("out/grad/", grads)


def stored_w_avg(case: Case, buffers: Any) -> Any:
    """The stored mean style; zeros where the original keeps none."""
    kwargs = case.args.get("kwargs", case.args.get("G"))
    return buffers.get("mapping", {}).get("w_avg", jnp.zeros(kwargs["w_dim"]))


def stored_noise(buffers: dict[str, Any]) -> dict[str, Any]:
    """The stored noise of every layer as the synthesis takes it; none without noise inputs."""
    return {
        block: {layer: leaf["noise_const"] for layer, leaf in layers.items()}
        for block, layers in buffers.get("synthesis", {}).items()
    }


def _noise_const_like(official: dict[str, np.ndarray]) -> dict[str, Any]:
    """Injected noise `{"b4.conv1": [n, 1, h, w]}` as the synthesis takes it."""
    noise: dict[str, Any] = {}
    for name, value in official.items():
        block, layer = name.split(".")
        noise.setdefault(block, {})[layer] = to_nhwc(value)
    return noise
