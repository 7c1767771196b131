"""Runners of the augmentations: `ada_*`, `proj_diffaug`, `sgt_diffaug_loss`."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from stylegan_jax.augment import diffaugment
from stylegan_jax.augment.ada import augment
from stylegan_jax.augment.ada_axis import LOW_PASS
from stylegan_jax.augment.ada_control import (
    Controller,
    adjust_strength,
    init_strength,
    mean_sign,
    observe_reals,
)
from stylegan_jax.augment.ada_draws import Draws, draw_names, percentile_draws
from stylegan_jax.augment.ada_filter import filter_bank
from stylegan_jax.augment.ada_pipe import PIPES, Pipe
from stylegan_jax.augment.blur import blur
from stylegan_jax.losses.adversarial import ADVERSARIAL_LOSSES
from stylegan_jax.losses.guidance import spherical_distance
from tests.parity.case import Case, to_nchw, to_nhwc

# The original continues images as far as any image of the batch reaches.
run, run_gather = (
    jax.jit(functools.partial(augment, margins="batch", resampling=way), static_argnames="pipe")
    for way in ("by_image", "gather")
)


@functools.partial(jax.jit, static_argnames="pipe")
def run_with_gradient(x, draws, p, R, pipe):
    """Images, and the gradient of their product with R."""
    y, vjp = jax.vjp(lambda x: run_gather(x, draws, p, pipe=pipe), x)
    return y, vjp(R)[0]


def make_pipe(names: list[str], case: Case) -> Pipe:
    """A pipe of the original's names, with the options of the case."""
    return Pipe(**dict.fromkeys(names, 1.0), **case.args.get("kwargs", {}))


def single_cases(case: Case) -> None:
    """Each transformation alone: in a program of all like it, the gates of the others closed."""
    case.check("out/Hz_geom", np.asarray(LOW_PASS, np.float32))
    case.check("out/Hz_fbank", filter_bank())
    x = to_nhwc(case["in/x"])
    noise = to_nhwc(case["in/noise_image"])
    # An image that is moved is filtered, though the gates be closed.
    moving = [name for name in draw_fields("bg") if name != "rotate"] + ["rotate"]
    others = [name for name in draw_fields("bgcfnc") if name not in moving]
    pipes = {name: make_pipe(group, case) for group in (moving, others) for name in group}
    for name, pipe in pipes.items():
        for q in case.args["percentiles"]:
            draws = percentile_draws(q, pipe, noise)
            mine = [draw for draw in draws.gates if draw.split("_")[0] == name]
            gates = {d: g if d in mine else jnp.full_like(g, 2.0) for d, g in draws.gates.items()}
            got = run(x, draws._replace(gates=gates), 1.0, pipe=pipe)
            case.offer(f"out/{name}/p{q}", to_nchw(got))


def draw_fields(pipe: str) -> list[str]:
    """The transformations of a pipe."""
    return list(dict.fromkeys(name.split("_")[0] for name in draw_names(PIPES[pipe])))


def combo_cases(case: Case) -> None:
    """Whole pipes at percentiles, of colours and of grey; and bands that are left out."""
    percentiles = case.args["percentiles"]
    for name, array in case.below("out/").items():
        pipeline, at = name.split("/")
        grey = pipeline.startswith("gray_")
        x = to_nhwc(case["in/x_gray" if grey else "in/x"])
        noise = to_nhwc(case["in/noise_gray" if grey else "in/noise_image"])
        if pipeline.startswith("imgfilter_bands_"):
            bands = tuple(float(band) for band in pipeline.split("_")[2:])
            pipe = Pipe(imgfilter=1.0, imgfilter_bands=bands)
        else:
            pipe = make_pipe(case.args["pipelines"][pipeline.removeprefix("gray_")], case)
        # `a` and `b` are the last two.
        q = percentiles[{"a": -2, "b": -1}[at]] if grey else float(at[1:])
        got = run(x, percentile_draws(q, pipe, noise), 1.0, pipe=pipe)
        assert got.shape == to_nhwc(array).shape
        case.check(f"out/{name}", to_nchw(got))


def stochastic_cases(case: Case) -> None:
    """Random draws, some gates open; gradients where they are stored."""

    for name, options in case.args["cases"].items():
        pipe = make_pipe(case.args["pipelines"][options["pipeline"]], case)
        x = to_nhwc(case[f"in/{name}/x"])
        draws = read_draws(case, f"in/{name}/", pipe)
        if f"in/{name}/R" not in case:
            case.check(f"out/{name}/y", to_nchw(run_gather(x, draws, options["p"], pipe=pipe)))
            continue
        R = to_nhwc(case[f"in/{name}/R"])
        y, grad = run_with_gradient(x, draws, options["p"], R, pipe=pipe)
        case.check(f"out/{name}/y", to_nchw(y))
        case.check(f"out/{name}/grad_x", to_nchw(grad))


def read_draws(case: Case, prefix: str, pipe: Pipe) -> Draws:
    """The stored draws of a pipe, `TRANSFORMATION.VARIABLE` and `TRANSFORMATION.gate`."""
    stored = {
        name.split("/", 1)[1]: jnp.asarray(array)
        for name, array in case.below(prefix).items()
        if name.startswith("rand")
    }
    values, gates, noise = {}, {}, None
    for name in draw_names(pipe):
        parts = {
            k.removeprefix(f"{name}."): v for k, v in stored.items() if k.startswith(name + ".")
        }
        if name == "imgfilter":
            bands = range(4)
            values[name] = jnp.stack([parts[f"band{band}.t"] for band in bands], axis=1)
            gates[name] = jnp.stack([parts[f"band{band}.gate"] for band in bands], axis=1)
            continue
        if name == "noise":
            noise = to_nhwc(np.asarray(parts.pop("image")))
        gates[name] = parts.pop("gate").ravel()
        (value,) = parts.values()
        values[name] = value.reshape(len(value), -1) if value.size > len(value) else value.ravel()
    return Draws(values, gates, noise)


def controller_cases(case: Case) -> None:
    """p after every iteration, and the mean sign at every step."""
    for name, options in case.args.items():
        controller = Controller(
            mode="ada",
            p=options["p_init"],
            target=options["ada_target"],
            interval=options["ada_interval"],
            kimg=options["ada_kimg"],
        )
        batch_size = options["batch"]

        def iterate(strength, signs, controller=controller, batch_size=batch_size):
            seen = observe_reals(strength, signs)
            after = adjust_strength(seen, controller, batch_size=batch_size, nimg=0)
            return after, (after["p"], mean_sign(seen))

        signs = jnp.asarray(case[f"in/{name}/signs"])
        _, (ps, means) = jax.lax.scan(iterate, init_strength(controller), signs)
        case.check(f"out/{name}/p", ps)
        due = controller.interval
        case.check(f"out/{name}/mean_signs", np.asarray(means, np.float64)[due - 1 :: due])


@functools.partial(jax.jit, static_argnames="policy")
def run_diffaugment(x, draws, R, policy):
    """Images, and the gradient of their product with R."""
    y, vjp = jax.vjp(lambda x: diffaugment.augment(x, draws, policy), x)
    return y, vjp(R)[0]


def diffaugment_cases(case: Case) -> None:
    """DiffAugment with stored draws, and its gradients."""
    policy = diffaugment.Policy(tuple(case.args["policy"].split(",")))
    for name in sorted({name.split("/")[0] for name in case.below("in/")}):
        draws = read_diffaugment(case, f"in/{name}/", policy)
        x = to_nhwc(case[f"in/{name}"])
        y, grad = run_diffaugment(x, draws, to_nhwc(case[f"in/{name}/R"]), policy=policy)
        case.check(f"out/{name}/y", to_nchw(y))
        case.check(f"out/{name}/grad", to_nchw(grad))


def read_diffaugment(case: Case, prefix: str, policy: diffaugment.Policy) -> diffaugment.Draws:
    """The stored draws of a policy."""
    draws = {
        name.removeprefix("u_"): jnp.asarray(array)
        for name, array in case.below(prefix).items()
        if name.startswith("u_")
    }
    for part, stored in (("translation", "shift"), ("cutout", "offset")):
        if part in policy.names:
            both = [case[f"{prefix}{stored}_dim{dim}"] for dim in (2, 3)]
            draws[part] = jnp.asarray(np.stack(both, axis=1), jnp.int32)
    return draws


def stylegan_t_cases(case: Case) -> None:
    """What StyleGAN-T does to images on their way to D, and its losses without their networks."""
    for name in case.below("out/"):
        image, _, policy_name = name.partition("/")
        if policy_name:
            policy = diffaugment.Policy(tuple(policy_name.split("+")))
            draws = read_diffaugment(case, f"in/{name}/", policy)
            x = to_nhwc(case[f"in/{image}"])
            case.check(f"out/{name}", to_nchw(run_diffaugment(x, draws, x, policy=policy)[0]))
        elif name.startswith("blur_sigma"):
            sigma = float(name.removeprefix("blur_sigma"))
            case.check(f"out/{name}", to_nchw(blur(to_nhwc(case["in/blur_x"]), sigma)))
    case.check(
        "out/spherical_distance",
        spherical_distance(*(jnp.asarray(case[f"in/sd_{k}"]) for k in "ab")),
    )

    # Hinge losses, divided by the batch once more.
    fake, real = (jnp.asarray(case[f"in/{kind}_logits"]) for kind in ("fake", "real"))
    loss_G, loss_D = ADVERSARIAL_LOSSES["hinge"]
    low = jnp.full((fake.size, 1), -jnp.inf)
    fakes, reals = (logits.reshape(-1, 1) for logits in (fake, real))
    parts = [loss_D(fakes, -low), loss_D(low, reals), loss_G(fakes)]
    case.check("out/hinge_D_gen_real_G", [float(jnp.mean(part)) / len(fake) for part in parts])
