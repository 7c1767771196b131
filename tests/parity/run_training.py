"""Runners of losses and training trajectories, of any family of generators."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from stylegan_jax.training.inputs import Inputs, Latents, Reals
from stylegan_jax.training.objectives import LOSSES, init_stats
from stylegan_jax.training.optimizer import make_optimizer
from stylegan_jax.training.schedules import Level
from stylegan_jax.training.setup import Networks, Phase, Setup
from stylegan_jax.training.state import TrainState
from stylegan_jax.training.step import average_G, count_images, gradient_step, gradients
from tests.parity import run_stylegan2, run_stylegan3
from tests.parity.case import Case, hyperparameters, to_nhwc
from tests.parity.run_stylegan2 import make_discriminator, stored_noise, stored_w_avg

# Structure of the generator that an entry describes, by what the entry calls it.
_GENERATORS = {"sg2": run_stylegan2.make_generator, "sg3": run_stylegan3.make_generator}
# Parameters of ours that are buffers there, and so have no gradient.
_CONSTANT = {"sg2": (), "sg3": run_stylegan3.CONSTANT}


def _kind(case: Case) -> str:
    return case.args["G"].get("kind", "sg2")


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
    graphdef, init = _GENERATORS[_kind(case)](case.args["G"])
    network = nnx.merge(graphdef, jax.eval_shape(init, jax.random.key(0)))
    networks = Networks(
        G=graphdef,
        D=make_discriminator(case.args["D"])[0],
        opt_G=opt_G,
        opt_D=opt_D,
        z_dim=case.args["G"]["z_dim"],
        num_ws=network.num_ws,
        noise_layers=(),  # noise is given
    )
    numbers = dict(
        r1_gamma=loss.get("r1_gamma", 10.0),
        pl_weight=loss.get("pl_weight", semantics["pl_weight"]),
        pl_decay=loss.get("pl_decay", 0.01),
        pl_batch_shrink=loss.get("pl_batch_shrink", 2),
        w_avg_beta=semantics["w_avg_beta"],
        w_avg_update=semantics["w_avg_update"],
        magnitude_ema_kimg=_magnitude_ema_kimg(case),
        blur_init_sigma=loss.get("blur_init_sigma", 0.0),
        blur_fade_kimg=loss.get("blur_fade_kimg", 0.0) or 1.0,
    )
    whole = dict(resolution=resolution, lod=0, batch_size=4, G_lr=0.0, D_lr=0.0)
    return Setup(networks, hyperparameters(**(numbers | hyper)), Level(**(whole | level)))


def _noise(case: Case, buffers: Any) -> Any:
    """The stored noise; networks without noise inputs have none."""
    return {} if _kind(case) == "sg3" else stored_noise(buffers)


def _magnitude_ema_kimg(case: Case) -> float:
    """The half-life that gives a pass the decay of the case, whatever images it has."""
    beta = case.args["G"].get("magnitude_ema_beta", run_stylegan3.MAGNITUDE_EMA_BETA)
    images = case.args.get("batch_gpu", 4)
    return images * np.log(0.5) / np.log(beta) / 1000


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


def _without_idle_term(phase: Phase, setup: Setup) -> Phase:
    """Without a weight the path length is no term of the loss."""
    is_idle = phase.net == "G" and not setup.hyper.pl_weight
    return phase._replace(reg=phase.reg and not is_idle)


def _stats(case: Case, buffers: Any, pl_mean: Any) -> dict[str, Any]:
    """Moving values as the case has them."""
    moving = run_stylegan3.moving_of(buffers) if _kind(case) == "sg3" else {}
    none = init_stats(w_dim=case.args["G"]["w_dim"], moving_G=moving, moving_D={})
    return none | {
        "w_avg": stored_w_avg(case, buffers),
        "pl_mean": jnp.asarray(pl_mean, jnp.float32),
    }


def loss_cases(case: Case) -> None:
    """Every phase from the same parameters: reports, gradients, moved statistics."""
    case.convert = run_stylegan3.convert  # of both families, by the names
    unused = make_optimizer(betas=(0.0, 0.99), eps=1e-8, reg_interval=None)
    setup = _setup(case, unused, unused, level={})
    (G, buffers), (D, _) = (case.trees(f"params/{n}.") for n in "GD")
    stats = _stats(case, buffers, case.arrays.get("in/pl_mean_before", 0.0))
    nimg = jnp.int32(case.args.get("cur_nimg", 0))
    state = TrainState(
        G=G, D=D, G_ema=G, opt_G=None, opt_D=None, stats=stats, skipped={}, nimg=nimg
    )
    for name, gain in case.args["gains"].items():
        if not case.below(f"out/{name}/"):
            continue
        phase = _without_idle_term(_phase(name, gain), setup)
        inputs = _inputs(case, "in/", "in/", phase, setup, _noise(case, buffers))
        loss = functools.partial(LOSSES[phase.net], phase=phase, setup=setup)
        run = jax.jit(functools.partial(gradients, loss=loss, net=phase.net, setup=setup))
        grads, moved, report = run(state, inputs, {})
        prefix = f"out/{name}/"
        _check_report(case, prefix + "report/", report)
        absent = [*case.args["none_grads"].get(name, ()), *_constant(case, phase)]
        case.check_official(prefix + "grad/", grads, absent=absent)
        for key in ("w_avg", "pl_mean"):
            case.offer(f"{prefix}{key}_after", moved[key])


def _constant(case: Case, phase: Phase) -> tuple[str, ...]:
    return _CONSTANT[_kind(case)] if phase.net == "G" else ()


def training_cases(case: Case) -> None:
    """Whole iterations: reports, all parameters after each, Adam's step counts at the end."""
    case.convert = run_stylegan3.convert  # of both families, by the names
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

    noise = _noise(case, buffers)
    iterations = sorted({int(n.split("/")[1][2:]) for n in case.arrays if n.startswith("in/it")})
    for it in iterations:
        for name in args["phase_order"]:
            if f"in/it{it}/{name}/gen_z" not in case:
                continue
            phase = _phase(name, args[f"{name[0]}_reg_interval"] if name[1:] == "reg" else 1)
            phase = _without_idle_term(phase, setup)
            inputs = _inputs(case, f"in/it{it}/{name}/", f"in/it{it}/", phase, setup, noise)
            state, report = run(state, inputs, phase)
            _check_report(case, f"out/it{it}/{name}/report/", report)
        state = count_images(average_G(state, setup), setup)
        _check_state(case, f"out/it{it}/", state, buffers)
    _check_adam_steps(case, state)


def _check_state(case: Case, prefix: str, state: TrainState, buffers: Any) -> None:
    """Parameters and buffers of the three networks."""
    moved = dict(buffers, mapping=dict(buffers["mapping"], w_avg=state.stats["w_avg"]))
    moved |= state.stats["G"]
    stored = case.below(prefix)
    for net, kept in (("G", moved), ("D", {}), ("G_ema", moved)):
        names = [n for n in stored if n.startswith(f"{net}.")]
        # Constant buffers need not be stored after every iteration.
        is_stored = any(n.endswith(("noise_const", "magnitude_ema")) for n in names)
        kept = kept if is_stored or not kept else {"mapping": kept["mapping"]}
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
