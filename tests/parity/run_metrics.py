"""Runners of the `metric_*` cases and of `feat_frechet`."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from stylegan_jax.metrics import (
    Manifold,
    Moments,
    PathSettings,
    class_probabilities,
    decibels,
    frechet_distance,
    inception_score,
    kernel_distance_of_subsets,
    moments_distance,
    path_distances,
    plan_move,
    precision_recall,
    squared_errors,
    trimmed_mean,
)
from stylegan_jax.metrics import equivariance_operators as operators
from stylegan_jax.metrics.equivariance import KINDS
from stylegan_jax.metrics.frechet import infinity_sizes
from stylegan_jax.metrics.path_length import line_points, slerp
from stylegan_jax.metrics.separability import (
    classifier_probabilities,
    conditional_entropy,
    joint_distribution,
    mutual_information,
    separability_score,
)
from stylegan_jax.models.blocks import broadcast_ws
from stylegan_jax.ops.pyramid import average_pixels
from tests.parity import run_stylegan3
from tests.parity.case import Case, to_nchw, to_nhwc
from tests.parity.run_stylegan2 import make_generator, stored_noise


def subcases(case: Case) -> list[str]:
    """Names `case0`, `case1`, ... of what one file holds."""
    return sorted({name.split("/")[0] for name in case.below("in/") if name.startswith("case")})


def fid_cases(case: Case) -> None:
    """Means, covariances over N and the distance; from batches of uneven size."""
    for name in subcases(case):
        moments = {}
        for side in ("real", "gen"):
            features = case[f"in/{name}/{side}"]
            moments[side] = Moments(features.shape[1])
            for batch in np.array_split(features, 3):
                moments[side].add(batch)
            case.check(f"out/{name}/mean_{side}", moments[side].mean)
            case.check(f"out/{name}/cov_{side}", moments[side].covariance())
        case.check(f"out/{name}/fid", moments_distance(moments["real"], moments["gen"]))


def frechet_cases(case: Case) -> None:
    """The rule with covariances over N - 1, by both ways to the root, and that over N."""
    real, fake = (Moments.of(case[f"in/{side}"]) for side in ("real", "fake"))
    covs = [side.covariance(ddof=1) for side in (real, fake)]
    case.check("out/mu_real", real.mean)
    case.check("out/cov_real", covs[0])
    case.check("out/fd", moments_distance(real, fake, ddof=1))
    by_eigenvalues = frechet_distance(real.mean, covs[0], fake.mean, covs[1], by_eigenvalues=True)
    case.check("out/fd_eig", by_eigenvalues)
    case.check("out/fd_n", moments_distance(real, fake))
    num_points = len(case["out/infinity_batches"])
    sizes = infinity_sizes(len(case["in/fake"]), num_points=num_points)
    case.check("out/infinity_batches", sizes)


def kid_cases(case: Case) -> None:
    """Means over the stored subsets."""
    for name in subcases(case):
        arrays = (case[f"in/{name}/{a}"] for a in ("real", "gen", "idx_real", "idx_gen"))
        case.check(f"out/{name}/kid", kernel_distance_of_subsets(*arrays).mean)


def inception_score_cases(case: Case) -> None:
    """Mean and deviation, from logits and from probabilities."""
    for name in subcases(case):
        splits = case.args[name]["num_splits"]
        given = (class_probabilities(case[f"in/{name}/logits"]), case[f"in/{name}/probs"])
        for probabilities in given:
            score = inception_score(probabilities, num_splits=splits)
            case.check(f"out/{name}/is_mean_std", score)


def precision_recall_cases(case: Case) -> None:
    """Both shares in half and in single precision, in tiles."""
    for name in subcases(case):
        sides = [case[f"in/{name}/{side}"] for side in ("real", "gen")]
        neighbours = case.args[name]["nhood_size"]
        options = dict(neighbours=neighbours, tile_rows=24, tile_columns=16)
        single = Manifold.of(sides[0], half_precision=False, **options)
        case.check(f"out/{name}/kth_real_fp32", single.radii)
        for way, half in (("fp16features", True), ("fp32", False)):
            found = precision_recall(*sides, half_precision=half, **options)
            case.check(f"out/{name}/precision_recall_{way}", found)


def path_length_cases(case: Case) -> None:
    """Arcs, distances of a network with a stand-in for features, and the trimmed mean."""
    a, b, t = (jnp.asarray(case[f"in/slerp_{n}"]) for n in ("a", "b", "t"))
    for name, shift in (("slerp", 0), ("slerp_eps", 1e-4)):
        case.check(f"out/{name}", slerp(a, b, t + shift))
        with jax.enable_x64(True):
            wide = (jnp.asarray(case[f"in/slerp_{n}"], jnp.float64) for n in ("a", "b", "t"))
            a64, b64, t64 = wide
            case.check(f"out/{name}_f64", slerp(a64, b64, t64 + shift))

    distances = np.sort(case["in/dist"])
    low, high = (np.percentile(distances, q, method=m) for q, m in ((1, "lower"), (99, "higher")))
    case.check("out/dist_lo_hi_mean", [low, high, trimmed_mean(distances)])

    graphdef, _ = make_generator(case.args["G"])
    params, buffers = case.trees("params/")
    noise = stored_noise(buffers)
    z = tuple(jnp.split(jnp.asarray(case["in/z0z1"]), 2))
    projection = jnp.asarray(case["in/fake_vgg_proj"])

    @jax.jit
    def mapping(z, c):
        G = nnx.merge(graphdef, params)
        return broadcast_ws(G.mapping(z, c), G.num_ws)

    @jax.jit
    def synthesize(ws, key):
        return nnx.merge(graphdef, params).synthesis(ws, noise, {})[0]

    def features(img):
        pooled = average_pixels(img / 255, img.shape[1] // 8)  # [n, 8, 8, c]
        return pooled.transpose(0, 3, 1, 2).reshape(len(img), -1) @ projection

    @jax.jit
    def distance(x, y):
        return jnp.sum(jnp.square(features(x) - features(y)), axis=1)

    kinds = itertools.product(("w", "z"), ("full", "end"), (False, True), (1e-4, 1e-2))
    for space, sampling, crop, epsilon in kinds:
        path = PathSettings(space=space, sampling=sampling, crop=crop, epsilon=epsilon)
        t = jnp.asarray(case["in/t"]) * (sampling == "full")
        points = line_points(path, z, case.labels("in/c", len(t)), t, mapping)
        got = path_distances(
            path, points, jax.random.key(0), synthesize=synthesize, distance=distance
        )
        case.check(f"out/ppl_{space}_{sampling}_crop{int(crop)}_eps{epsilon}", got)


def separability_cases(case: Case) -> None:
    """Joint distributions, their entropies and the score; two answers from one logit."""
    entropies = []
    for name in subcases(case):
        joint = joint_distribution(case[f"in/{name}/svm_pred"], case[f"in/{name}/target"])
        entropies.append(conditional_entropy(joint))
        case.check(f"out/{name}/joint", joint)
        case.check(f"out/{name}/cond_entropy_bits", entropies[-1])
        case.check(f"out/{name}/mutual_information", mutual_information(joint))
    case.check("out/separability_score", separability_score(np.array(entropies)))
    probabilities = classifier_probabilities(case["in/classifier_logits"][:, 0])
    case.check("out/classifier_probs", probabilities)


def equivariance_operator_cases(case: Case) -> None:
    """Every move with its mask, and the filters of rotations."""
    x = jnp.asarray(to_nhwc(case["in/x"]))
    height, width = x.shape[1:3]

    def check(name, moved, mask):
        case.check(f"out/{name}/y", to_nchw(moved))
        case.check(f"out/{name}/mask", mask[None, None])

    for i in range(len(case.below("in/translation"))):
        shift_px = case[f"in/translation{i}"] * [width, height]
        for name, design in (
            ("integer", operators.design_whole_translation),
            ("fractional", operators.design_translation),
        ):
            motion = design(shift_px, (height, width))
            check(f"{name}_translation{i}", motion.move(x), motion.known)
    for i in range(len(case.below("in/angle"))):
        angle = float(case[f"in/angle{i}"])
        motion = operators.design_rotation(angle, (height, width))
        check(f"rotation{i}", motion.move(x), motion.known)
        check(f"pseudo_rotation{i}", motion.match(x), motion.also_known)
        for name, turn, up in (("", angle, 4), ("_pseudo", -angle, 1)):
            taps = operators.bandlimit_filter(operators.rotation_matrix(turn), up=up)
            case.check(f"out/bandlimit_filter{name}{i}", taps)


def equivariance_cases(case: Case) -> None:
    """All kinds of a StyleGAN3 with the original's draws: one move per batch."""
    case.convert = run_stylegan3.convert
    params, buffers = case.trees("params/")
    graphdef, _ = run_stylegan3.make_generator(case.args["G"])
    moving = run_stylegan3.moving_of(buffers)

    # One program draws everything: what changes are latents and transforms.
    @jax.jit
    def draw(z, transform):
        return nnx.merge(graphdef, params)(z, None, None, moving, transform=transform)

    # As `draw_move`, of numbers that are stored.
    largest = dict(
        zip(KINDS, (case.args["translate_max"],) * 2 + (case.args["rotate_max"] * np.pi,))
    )
    found = []
    for kind in KINDS:
        error = weight = 0.0
        for z, u in zip(case["in/z"], case[f"in/u_{kind}"]):
            upright = draw(z, np.eye(3, dtype=np.float32))
            share = np.atleast_1d(2 * u.astype(np.float64) - 1)
            move = plan_move(kind, largest[kind] * share, upright.shape[1:3])
            rows = squared_errors(upright, draw(z, move.transform), move)
            error += np.asarray(rows).sum(dtype=np.float64)
            weight += float(move.motion.mask.sum()) * upright.shape[0] * upright.shape[-1]
        found.append(decibels(float(error), weight))
    case.check("out/psnr_eqt_int_eqt_frac_eqr", found)
