"""Runners of the ProGAN and StyleGAN 1 cases."""

import functools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from stylegan_jax.convert.stylegan1 import params_from_official
from stylegan_jax.models import DISCRIMINATORS, GENERATORS, make_model
from stylegan_jax.models.blocks import broadcast_ws, truncate
from stylegan_jax.ops.bias_act import bias_act
from stylegan_jax.ops.conv import conv2d_resample
from stylegan_jax.ops.fir import blur2d
from stylegan_jax.ops.normalize import instance_norm, minibatch_stddev, normalize_2nd_moment
from stylegan_jax.ops.pyramid import average_pixels, repeat_pixels
from stylegan_jax.training.inputs import Inputs, Latents, Reals
from stylegan_jax.training.objectives import LOSSES, init_stats
from stylegan_jax.training.optimizer import make_optimizer
from stylegan_jax.training.schedules import Level
from stylegan_jax.training.setup import Networks, Phase, Setup
from stylegan_jax.training.state import TrainState
from stylegan_jax.training.step import gradients
from tests.parity.case import Case, hyperparameters, to_nchw, to_nhwc

_RENAMED = {
    "latent_size": "z_dim",
    "label_size": "c_dim",
    "dlatent_size": "w_dim",
    "resolution": "img_resolution",
    "num_channels": "img_channels",
    "fmap_max": "channel_max",
    "mapping_fmaps": "layer_features",
    "mapping_lrmul": "mapping_lr_multiplier",
    "mapping_nonlinearity": "mapping_act",
    "nonlinearity": "act",
    "const_input_layer": "const_input",
    "mbstd_num_features": "mbstd_num_channels",
}
# How the original calls its networks, and truncation and noise as the runner does them.
_NOT_OURS = (
    "fused_scale",
    "structure",
    "truncation_psi",
    "truncation_cutoff",
    "style_mixing_prob",
    "dlatent_avg_beta",
    "randomize_noise",
    "use_leakyrelu",
)
_DEFAULTS = {
    "progan_G": dict(z_dim=512),
    "stylegan1_G": dict(z_dim=512, w_dim=512, layer_features=512),
    "progan_D": dict(blur_filter=None, score_by_label=False, mbstd_grouping="strided"),
    "stylegan1_D": dict(mbstd_grouping="strided"),
}


def make_network(name: str, official: dict[str, Any]):
    """Structure, initialiser and weight conversion of a network of the original.

    Args:
        name: `progan_G`, `stylegan1_G`, `progan_D` or `stylegan1_D`.
        official: Its arguments there.
    """
    kwargs = {_RENAMED.get(k, k): v for k, v in official.items() if k not in _NOT_OURS}
    kwargs = _DEFAULTS[name] | dict(c_dim=0) | kwargs
    kwargs["channel_base"] = 2 * kwargs.pop("fmap_base", 8192)
    if not official.get("use_leakyrelu", True):
        kwargs["act"] = "relu"
    kwargs["grows"] = official.get("structure", "auto") != "fixed"
    if kwargs.get("blur_filter") is not None:
        kwargs["blur_filter"] = tuple(kwargs["blur_filter"])
    if kwargs.get("mbstd_group_size", 4) <= 1:
        kwargs["mbstd_num_channels"] = 0  # the original leaves the layer out
    family, net = name.split("_")
    fused_scale = official.get("fused_scale", True if family == "progan" else "auto")
    if name == "progan_D":
        kwargs["fused_scale"] = fused_scale
    build = GENERATORS[family] if net == "G" else DISCRIMINATORS["progressive"]
    convert = functools.partial(
        params_from_official, network=name if net == "G" else "D", fused_scale=fused_scale
    )
    return *make_model(build, **kwargs), convert


def at_lod(lod: float, img_resolution: int) -> dict[str, Any]:
    """The native resolution and the fade of a level of detail."""
    level = int(lod)
    fade = jnp.float32(lod - level) if lod > level else None
    return {"resolution": img_resolution >> level, "fade": fade}


def full_size(img: Any, img_resolution: int) -> np.ndarray:
    """Images at native resolution as the original gives them, NCHW."""
    return to_nchw(repeat_pixels(img, img_resolution // img.shape[1]))


def check_shapes(init: Any, params: Any) -> None:
    """The converted tree has exactly the paths and shapes that the model makes."""
    want = jax.tree.map(lambda x: x.shape, jax.eval_shape(init, jax.random.key(0)))
    assert jax.tree.map(lambda x: x.shape, params) == want


def ops_cases(case: Case) -> None:
    """The operators that the networks are made of, each under its stored name."""
    x = to_nhwc(case["in/x"])
    for name, want in case.below("out/").items():
        case.check(f"out/{name}", _op(case, name, x, want))


def _op(case: Case, name: str, x: jax.Array, want: np.ndarray) -> np.ndarray:
    if match := re.fullmatch(r"mbstd_g(\d+)_f(\d+)", name):
        size, features = int(match[1]), int(match[2])
        y = minibatch_stddev(x, group_size=size, num_channels=features, grouping="strided")
        return np.asarray(y[:, 0, 0, -features:])
    if match := re.fullmatch(r"(upscale2d_conv2d|conv2d_downscale2d)_fused([01])", name):
        weight = jnp.asarray(case[f"in/{name}/w"])
        kernel_size, _, fan_in, _ = weight.shape
        is_up = match[1].startswith("up")
        weight *= case.args["wscale_gain"] / np.sqrt(kernel_size**2 * fan_in)
        weight = weight[::-1, ::-1] if is_up and match[2] == "1" else weight
        factor = {"up" if is_up else "down": 2}
        return to_nchw(conv2d_resample(x, weight, (0.5, 0.5), padding=kernel_size // 2, **factor))
    if match := re.fullmatch(r"(blur|upscale|downscale)(\d+)", name):
        taps = [float(digit) for digit in match[2]]
        op = {
            "blur": lambda: blur2d(x, taps),
            "upscale": lambda: repeat_pixels(x, int(match[2])),
            "downscale": lambda: average_pixels(x, int(match[2])),
        }
        return to_nchw(op[match[1]]())
    op = {
        "lrelu": lambda: bias_act(x, act="lrelu", gain=1.0),
        "pixel_norm": lambda: normalize_2nd_moment(x),
        "instance_norm": lambda: instance_norm(x),
    }
    return to_nchw(op[name]())


def generator_cases(case: Case) -> None:
    """Styles, images at every level of detail, truncation."""
    family = "progan" if case.args["func"] == "G_paper" else "stylegan1"
    kwargs = case.args["kwargs"]
    graphdef, init, case.convert = make_network(f"{family}_G", kwargs)
    params, buffers = case.trees("params/")
    check_shapes(init, params)
    z = jnp.asarray(case["in/z"])
    c = case.labels("in/c", len(z))
    size, noise = kwargs["resolution"], buffers.get("noise_const")

    @functools.partial(jax.jit, static_argnames="resolution")
    def draw(params, ws, resolution=None, fade=None):
        G = nnx.merge(graphdef, params)
        return G.synthesis(ws, noise, {}, resolution=resolution, fade=fade)[0]

    def styles(params):
        G = nnx.merge(graphdef, params)
        return broadcast_ws(G.mapping(z, c), G.num_ws)

    ws = jax.jit(styles)(params)
    for name in case.below("out/"):
        if name == "dlatents":
            case.check("out/dlatents", ws)
        elif match := re.fullmatch(r"(img|syn)_lod([\d.]+)", name):
            given = jnp.asarray(case["in/w"]) if match[1] == "syn" else ws
            img = draw(params, given, **at_lod(float(match[2]), size))
            case.check(f"out/{name}", full_size(img, size))
        elif match := re.fullmatch(r"img_psi([\d.]+)(?:_cut(\d+))?(?:_default)?", name):
            cutoff = int(match[2]) if match[2] else None
            truncated = truncate(ws, jnp.asarray(buffers["w_avg"]), float(match[1]), cutoff)
            case.check(f"out/{name}", full_size(draw(params, truncated), size))


def discriminator_cases(case: Case) -> None:
    """Scores at every level of detail."""
    family = "progan" if case.args["func"] == "D_paper" else "stylegan1"
    kwargs = case.args["kwargs"]
    graphdef, init, case.convert = make_network(f"{family}_D", kwargs)
    params, _ = case.trees("params/")
    check_shapes(init, params)
    img = to_nhwc(case["in/img"])
    c = case.labels("in/c", len(img))

    @jax.jit
    def score(params, img, fade):
        return nnx.merge(graphdef, params)(img, c, {}, fade=fade)[0]

    for name in case.below("out/"):
        at = at_lod(float(name.removeprefix("scores_lod")), kwargs["resolution"])
        small = average_pixels(img, img.shape[1] // at["resolution"])
        case.check(f"out/{name}", score(params, small, at["fade"]))


# Loss of the original -> our adversarial loss, and the names of its weights under ours.
_LOSSES = {
    "G_logistic_nonsaturating": ("logistic", {}),
    "G_logistic_saturating": ("logistic_saturating", {}),
    "G_wgan": ("wgan", {}),
    "D_logistic": ("logistic", {}),
    "D_logistic_simplegp": ("logistic", {"r1_gamma": "r1_gamma", "r2_gamma": "r2_gamma"}),
    "D_hinge": ("hinge", {}),
    "D_hinge_gp": ("hinge", {"wgan_lambda": "gp_weight", "wgan_target": "gp_target"}),
    "D_wgan": ("wgan", {"wgan_epsilon": "drift_weight"}),
    "D_wgan_gp": (
        "wgan",
        {
            "wgan_lambda": "gp_weight",
            "wgan_target": "gp_target",
            "wgan_epsilon": "drift_weight",
        },
    ),
}


def loss_cases(case: Case) -> None:
    """Every loss at every level of detail: values per image, gradients of their mean."""
    is_progan = case.entry["file"].startswith("pggan")
    family = "progan" if is_progan else "stylegan1"
    G, _, convert_G = make_network(f"{family}_G", case.args["G"])
    D, _, convert_D = make_network(f"{family}_D", case.args["D"])
    (params_G, buffers), (params_D, _) = (
        jax.tree.map(jnp.asarray, convert(case.below(f"params/{net}/")))
        for net, convert in (("G", convert_G), ("D", convert_D))
    )
    size = case.args["G"]["resolution"]
    z = jnp.asarray(case["in/z"])
    generator = nnx.merge(G, params_G)
    adam = make_optimizer(betas=(0.0, 0.99), eps=1e-8, reg_interval=None)
    networks = Networks(G, D, adam, adam, z.shape[1], generator.num_ws, noise_layers=())
    stats = init_stats(w_dim=generator.w_dim, moving_G={}, moving_D={})
    for name, weights in case.args["loss_kwargs"].items():
        adversarial, known = _LOSSES[name]
        # What an entry does not say is off.
        numbers = {ours: weights[theirs] for theirs, ours in known.items() if theirs in weights}
        hyper = hyperparameters(adversarial=adversarial, **numbers)
        penalties = hyper.r1_gamma or hyper.r2_gamma or hyper.gp_weight
        phase = Phase(name, name[0], main=True, reg=bool(penalties), interval=1)
        for lod in case.args["lods"]:
            level, nimg = _level_at(lod, size)
            setup = Setup(networks, hyper, level)
            state = TrainState(params_G, params_D, params_G, None, None, stats, {}, jnp.int32(nimg))
            loss = functools.partial(LOSSES[phase.net], phase=phase, setup=setup)
            run = jax.jit(functools.partial(gradients, loss=loss, net=phase.net, setup=setup))
            grads, _, report = run(state, _loss_inputs(case, setup, buffers.get("noise_const")), {})
            prefix = f"out/{name}/lod{lod}"
            main = report[f"Loss/{name[0]}/loss"][:, 0]
            # The original adds penalties [n] to losses [n, 1], which gives every pair its sum.
            pairs = main[:, None] + report.get(f"Loss/{name[0]}/reg", jnp.zeros(1))[None, :]
            case.offer(f"{prefix}/loss", jnp.ravel(pairs))
            case.convert = convert_G if name[0] == "G" else convert_D
            if case.below(f"{prefix}/grad/"):
                case.check_official(f"{prefix}/grad/", grads)


def _level_at(lod: float, img_resolution: int) -> tuple[Level, int]:
    """A level and an image count at which it has a level of detail."""
    floor = int(lod)
    fade_nimg = 10**6 if lod > floor else 0
    level = Level(
        img_resolution >> floor, floor, batch_size=4, G_lr=0.0, D_lr=0.0, fade_nimg=fade_nimg
    )
    return level, round(fade_nimg * (1 - (lod - floor)))


def _loss_inputs(case: Case, setup: Setup, noise: Any) -> Inputs:
    """What a phase of G or D takes; reals are given at full size and not faded."""
    z = jnp.asarray(case["in/z"])
    c = case.labels("in/c", len(z))
    real = average_pixels(to_nhwc(case["in/real"]), 2**setup.level.lod)
    mix = jnp.asarray(case["in/mixing_factors"]) if setup.hyper.gp_weight else None
    return Inputs(gen=Latents(z, c, noise), real=Reals(real, c), mix=mix)
