"""Runners of the StyleGAN2 networks, losses and training trajectories."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from stylegan_jax.models import DISCRIMINATORS, GENERATORS, make_model
from stylegan_jax.models.blocks import broadcast_ws, truncate
from stylegan_jax.training.inputs import Inputs, Latents, Reals
from stylegan_jax.training.objectives import LOSSES, init_stats
from stylegan_jax.training.optimizer import make_optimizer
from stylegan_jax.training.schedules import Level
from stylegan_jax.training.setup import Networks, Phase, Setup
from stylegan_jax.training.state import TrainState
from stylegan_jax.training.step import average_G, count_images, gradient_step, gradients
from tests.parity.case import Case, hyperparameters, to_nchw, to_nhwc

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
# What no number depends on in float32, and the decay that a case states for itself.
_NOT_OURS = ("kind", "num_fp16_res", "fused_modconv_default", "fp16_channels_last", "w_avg_beta")


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
    w_avg = _w_avg(case, buffers)
    noise_const = _noise_const(buffers)
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


# The two originals differ in which passes move w_avg, and in what Adam does without a gradient.
_SEMANTICS = {
    "NVlabs/stylegan2-ada-pytorch": dict(
        w_avg_update="every_pass", w_avg_beta=0.995, absent_grads="zero", pl_weight=2.0
    ),
    "NVlabs/stylegan3": dict(
        w_avg_update="Dmain", w_avg_beta=0.998, absent_grads="skip", pl_weight=0.0
    ),
}


def _semantics(case: Case) -> dict[str, Any]:
    return _SEMANTICS[case.entry["origin"].split("@")[0]]


def _setup(case: Case, opt_G: Any, opt_D: Any, level: dict[str, Any], **hyper: Any) -> Setup:
    """Networks and numbers of a training case; what an entry does not say is as in the original."""
    loss = case.args["loss"]
    assert loss.get("style_mixing_prob", 0) == 0
    semantics = _semantics(case)
    resolution = case.args["G"]["img_resolution"]
    networks = Networks(
        G=make_generator(case.args["G"])[0],
        D=make_discriminator(case.args["D"])[0],
        opt_G=opt_G,
        opt_D=opt_D,
        z_dim=case.args["G"]["z_dim"],
        num_ws=2 * int(np.log2(resolution)) - 2,
        noise_layers=(),  # noise is given
    )
    numbers = dict(
        r1_gamma=loss.get("r1_gamma", 10.0),
        pl_weight=loss.get("pl_weight", semantics["pl_weight"]),
        pl_decay=loss.get("pl_decay", 0.01),
        pl_batch_shrink=loss.get("pl_batch_shrink", 2),
        w_avg_beta=semantics["w_avg_beta"],
        w_avg_update=semantics["w_avg_update"],
    )
    whole = dict(resolution=resolution, lod=0, batch_size=4, G_lr=0.0, D_lr=0.0)
    return Setup(networks, hyperparameters(**(numbers | hyper)), Level(**(whole | level)))


def _inputs(case: Case, prefix: str, real: str, phase: Phase, setup: Setup, noise: Any) -> Inputs:
    """Inputs of one phase; the stored noise serves every image, path length the first latents.

    Args:
        case: Its arrays.
        prefix: Of the names of latents and directions.
        real: Of the names of the reals.
        phase: What is wanted.
        setup: For the micro-batches.
        noise: The stored noise.
    """
    z = case[f"{prefix}gen_z"]
    c = case.labels(f"{prefix}gen_c", len(z))
    micro = setup.hyper.num_micro_batches

    def latents(z: Any, c: Any) -> Latents:
        copies = jax.tree.map(lambda x: jnp.broadcast_to(x, (len(z), *x.shape[1:])), noise)
        return Latents(jnp.asarray(z), jnp.asarray(c), copies)

    inputs = Inputs()
    if phase.main:
        inputs = inputs._replace(gen=latents(z, c))
    if phase.net == "G" and phase.reg:
        directions = _pl_noise(case, prefix)
        per = len(directions) // micro
        # Each micro-batch measures path lengths on the first of its own latents.
        first = np.concatenate([i * len(z) // micro + np.arange(per) for i in range(micro)])
        inputs = inputs._replace(pl=latents(z[first], c[first]), directions=to_nhwc(directions))
    if phase.net == "D":
        img = to_nhwc(case[f"{real}real_img"])
        inputs = inputs._replace(real=Reals(img, case.labels(f"{real}real_c", len(img))))
    return jax.tree.map(lambda x: _deal(x, micro), inputs)


def _pl_noise(case: Case, prefix: str) -> np.ndarray:
    """Directions of the path lengths, stored for the batch or by micro-batch."""
    parts = case.below(f"{prefix}pl_noise_unit")
    names = sorted(parts, key=lambda name: int(name.removeprefix("_") or 0))
    return np.concatenate([parts[name] for name in names])


def _deal(x: Any, num_micro_batches: int) -> Any:
    """Orders images so that our micro-batches are the originals' runs of neighbours."""
    parts = x.reshape(num_micro_batches, len(x) // num_micro_batches, *x.shape[1:])
    return jnp.swapaxes(parts, 0, 1).reshape(x.shape)


def _check_report(case: Case, prefix: str, report: dict[str, Any]) -> None:
    """Per-image values of a phase."""
    for name in case.below(prefix):
        case.check(prefix + name, np.ravel(report[name.replace(".", "/")]))


def _phase(name: str, interval: int) -> Phase:
    """A phase by its name: `Gmain`, `Dreg`, `Gboth`."""
    return Phase(name, name[0], name[1:] != "reg", name[1:] != "main", interval)


def _stats(case: Case, buffers: Any, pl_mean: Any) -> dict[str, Any]:
    """Moving values as the case has them."""
    none = init_stats(w_dim=case.args["G"]["w_dim"], moving_G={}, moving_D={})
    return none | {"w_avg": _w_avg(case, buffers), "pl_mean": jnp.asarray(pl_mean, jnp.float32)}


def _w_avg(case: Case, buffers: Any) -> Any:
    """The stored mean style; zeros where the original keeps none."""
    kwargs = case.args.get("kwargs", case.args.get("G"))
    return buffers.get("mapping", {}).get("w_avg", jnp.zeros(kwargs["w_dim"]))


def loss_cases(case: Case) -> None:
    """Every phase from the same parameters: reports, gradients, moved statistics."""
    unused = make_optimizer(betas=(0.0, 0.99), eps=1e-8, reg_interval=None)
    setup = _setup(case, unused, unused, level={})
    (G, buffers), (D, _) = (case.trees(f"params/{n}.") for n in "GD")
    stats = _stats(case, buffers, case.arrays.get("in/pl_mean_before", 0.0))
    state = TrainState(
        G=G, D=D, G_ema=G, opt_G=None, opt_D=None, stats=stats, skipped={}, nimg=jnp.int32(0)
    )
    for name, gain in case.args["gains"].items():
        phase = _phase(name, gain)
        if phase.net == "G" and phase.reg and not setup.hyper.pl_weight:
            phase = phase._replace(reg=False)  # a regulariser without weight
        inputs = _inputs(case, "in/", "in/", phase, setup, _noise_const(buffers))
        loss = functools.partial(LOSSES[phase.net], phase=phase, setup=setup)
        run = jax.jit(functools.partial(gradients, loss=loss, net=phase.net, setup=setup))
        grads, moved, report = run(state, inputs, {})
        prefix = f"out/{name}/"
        _check_report(case, prefix + "report/", report)
        case.check_official(prefix + "grad/", grads, absent=case.args["none_grads"].get(name, ()))
        for key in ("w_avg", "pl_mean"):
            case.offer(f"{prefix}{key}_after", moved[key])


def training_cases(case: Case) -> None:
    """Whole iterations: reports, all parameters after each, Adam's step counts at the end."""
    args = case.args
    micro = args["batch"] // args["batch_gpu"]
    optimizers = [
        make_optimizer(
            betas=tuple(args[f"{net}_opt"]["betas"]),
            # The originals sum gradients over micro-batches, we average: Adam sees no other
            # difference than in eps.
            eps=args[f"{net}_opt"]["eps"] / micro,
            reg_interval=args[f"{net}_reg_interval"],
            absent_grads=_semantics(case)["absent_grads"],
        )
        for net in "GD"
    ]
    level = dict(batch_size=args["batch"], G_lr=args["G_opt"]["lr"], D_lr=args["D_opt"]["lr"])
    setup = _setup(
        case,
        *optimizers,
        level,
        num_micro_batches=micro,
        ema_kimg=args["ema_nimg"] / 1000,
        ema_rampup=args["ema_rampup"],
        g_reg_interval=args["G_reg_interval"],
        d_reg_interval=args["D_reg_interval"],
    )
    trees = {n: case.trees(f"params/{n}.") for n in ("G", "D", "G_ema")}
    buffers = trees["G"][1]
    state = TrainState(
        **{name: tree[0] for name, tree in trees.items()},
        opt_G=optimizers[0].init(trees["G"][0]),
        opt_D=optimizers[1].init(trees["D"][0]),
        stats=_stats(case, buffers, 0.0),
        skipped={"G": jnp.int32(0), "D": jnp.int32(0)},
        nimg=jnp.int32(args.get("start_nimg", 0)),
    )

    @functools.partial(jax.jit, static_argnames="phase")
    def run(state, inputs, phase):
        # Per-image values beside the step, from one compiled program.
        loss = functools.partial(LOSSES[phase.net], phase=phase, setup=setup)
        report = gradients(state, inputs, {}, loss, net=phase.net, setup=setup)[2]
        names = dict(net=phase.net, name=phase.name, is_reg=not phase.main)
        return gradient_step(state, inputs, {}, loss, setup=setup, **names)[0], report

    noise = _noise_const(buffers)
    iterations = sorted({int(n.split("/")[1][2:]) for n in case.arrays if n.startswith("in/it")})
    for it in iterations:
        for name in args["phase_order"]:
            if f"in/it{it}/{name}/gen_z" not in case:
                continue
            phase = _phase(name, args[f"{name[0]}_reg_interval"] if name[1:] == "reg" else 1)
            inputs = _inputs(case, f"in/it{it}/{name}/", f"in/it{it}/", phase, setup, noise)
            state, report = run(state, inputs, phase)
            _check_report(case, f"out/it{it}/{name}/report/", report)
        state = count_images(average_G(state, setup), setup)
        _check_state(case, f"out/it{it}/", state, buffers)
    _check_adam_steps(case, state)


def _check_state(case: Case, prefix: str, state: TrainState, buffers: Any) -> None:
    """Parameters and buffers of the three networks."""
    moved = dict(buffers, mapping=dict(buffers["mapping"], w_avg=state.stats["w_avg"]))
    stored = case.below(prefix)
    for net, kept in (("G", moved), ("D", {}), ("G_ema", moved)):
        names = [n for n in stored if n.startswith(f"{net}.")]
        # Constant buffers need not be stored after every iteration.
        has_noise = any(n.endswith("noise_const") for n in names)
        kept = kept if has_noise or not kept else {"mapping": kept["mapping"]}
        case.check_official(f"{prefix}{net}.", getattr(state, net), kept)
    case.offer(f"{prefix}pl_mean", state.stats["pl_mean"])


def _check_adam_steps(case: Case, state: TrainState) -> None:
    """How often Adam moved each parameter."""
    for net in "GD":
        opt_state = getattr(state, f"opt_{net}")
        inner = getattr(opt_state, "inner_states", None)
        counts = (
            {"every": opt_state.count, "main": opt_state.count}
            if inner is None
            else {k: v.inner_state.count for k, v in inner.items()}
        )
        for name in case.below(f"out/adam_step/{net}."):
            is_absent = any(name in names for names in case.args["none_grads"].values())
            case.check(f"out/adam_step/{net}.{name}", counts["main" if is_absent else "every"])


def _noise_const(buffers: dict[str, Any]) -> dict[str, Any]:
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
