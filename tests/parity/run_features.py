"""Runners of resizing rules, of Inception, and of the tensors of a TorchScript archive."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from stylegan_jax.convert.pretrained.inception import params_from_official
from stylegan_jax.convert.pretrained.loading import read_arrays
from stylegan_jax.models import make_model
from stylegan_jax.models.pretrained import FEATURE_NETWORKS
from stylegan_jax.ops.resize import (
    resize_area,
    resize_bicubic,
    resize_bilinear,
    resize_nearest,
    resize_pillow,
    resize_tf1,
)
from tests.parity.case import Case, to_nchw, to_nhwc

RULES = {
    "torch_bilinear": resize_bilinear,
    "torch_bilinear_antialias": lambda *args: resize_bilinear(*args, antialias=True),
    "torch_bicubic": lambda *args: resize_bicubic(*args, antialias=False),
    "torch_bicubic_antialias": lambda *args: resize_bicubic(*args, antialias=True),
    "torch_area": resize_area,
    "torch_nearest": resize_nearest,
    "tf1_bilinear": resize_tf1,
    "pil_box": lambda *args: resize_pillow(*args, "box"),
    "pil_bilinear": lambda *args: resize_pillow(*args, "bilinear"),
    "pil_bicubic": lambda *args: resize_pillow(*args, "bicubic"),
    "pil_lanczos": lambda *args: resize_pillow(*args, "lanczos"),
    # Pillow's floats, and what a cubic kernel overshoots cut off.
    "clean_bicubic_01": lambda *args: jnp.clip(resize_bicubic(*args, antialias=True), 0, 255) / 255,
}
# Means and deviations of channels on the scale 0 to 1, of CLIP and ImageNet.
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def resize_cases(case: Case) -> None:
    """Each rule, and the two chains of preprocessing that are made of them."""
    for name in [n for n in case.arrays if n.startswith("out/")]:
        image, *size, rule = name.removeprefix("out/").split("/")
        img = to_nhwc(case[f"in/{image}"][None])
        if size:
            height, width = map(int, size[0].split("x"))
            got = RULES[rule](img, height, width)
        elif rule.startswith("dgm_dinov2_"):
            side = int(rule.removeprefix("dgm_dinov2_"))
            got = _normalized(resize_pillow(img, side, side, "bicubic"), *_IMAGENET)
        else:
            got = _normalized(_shorter_side(img, int(rule.removeprefix("open_clip_"))), *_CLIP)
        case.check(name, to_nchw(got)[0])


def _shorter_side(img: Any, side: int) -> Any:
    """Resizes the shorter side, and cuts the middle out."""
    h, w = img.shape[1:3]
    height, width = side * h // min(h, w), side * w // min(h, w)
    top, left = round((height - side) / 2), round((width - side) / 2)
    resized = resize_pillow(img, height, width, "bicubic")
    return resized[:, top : top + side, left : left + side]


def _normalized(img: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> Any:
    """Bytes as the networks take them."""
    return (img / 255 - jnp.asarray(mean)) / jnp.asarray(std)


def inception_cases(case: Case) -> None:
    """Both ways to show images, features at every depth and logits, weights by recipe."""
    arrays = _recipe(case)
    case.check("out/param_checksum", [arrays[k].astype(np.float64).sum() for k in sorted(arrays)])
    graphdef, _ = make_model(FEATURE_NETWORKS["inception"].make)
    params = params_from_official(arrays)
    # One program for all images.
    network = jax.jit(lambda params, x: nnx.merge(graphdef, params)(x))
    protocols = {"tfresize": "inception", "pytorch_fid": "inception_torch"}
    outputs = {"64": "features_64", "192": "features_192", "768": "features_768"}
    outputs |= {"2048": "features", "logits": "logits", "logits_unbiased": "logits_unbiased"}

    for image, img in case.below("in/").items():
        for theirs, ours in protocols.items():
            # What the network is shown.
            seen: list[jax.Array] = []
            FEATURE_NETWORKS[ours].apply(lambda x: seen.append(x) or {}, to_nhwc(img))  # noqa: B023
            got = network(params, seen[0])
            for name, output in outputs.items():
                case.offer(f"out/{image}/{theirs}/{name}", got[output])
                case.offer(f"out/{image}/{theirs}_f64/{name}", got[output])
            if theirs == "tfresize" and f"out/{image}/tfresized_crop" in case:
                corner = to_nchw(seen[0] * 128 + 128)[:1, :, 100:116, :24]
                case.check(f"out/{image}/tfresized_crop", corner)


def _recipe(case: Case) -> dict[str, np.ndarray]:
    """Weights as the case says: normal numbers, scaled by what the name tells."""
    random = np.random.RandomState(case.args["seed"])
    arrays = {}
    shapes = dict(zip(case["keys"].tolist(), case["shapes"].tolist()))
    for name in sorted(n for n in shapes if not n.endswith("num_batches_tracked")):
        shape = tuple(int(side) for side in shapes[name].split(",") if side)
        normal = random.standard_normal(shape).astype(np.float32)
        if name.endswith("running_var"):
            normal = 0.5 + 0.5 * np.abs(normal)
        elif name.endswith(("running_mean", ".bias")):
            normal = 0.1 * normal
        elif name.endswith("bn.weight"):
            normal = 1 + 0.1 * normal
        elif name == "fc.weight":
            normal = 0.05 * normal
        else:
            normal = normal * np.float32(np.sqrt(2 / np.prod(shape[1:])))
        arrays[name] = normal.astype(np.float32)
    return arrays


def torchscript_cases(case: Case) -> None:
    """Every tensor of the archive, bit for bit, and what a small network makes of them."""
    arrays = read_arrays(case.folder / case.args["file"])
    stored = case.below("params/")
    if set(arrays) != set(stored):
        case.failures.append(f"names differ: {sorted(set(arrays) ^ set(stored))}")
    for name, want in stored.items():
        if arrays[name].dtype != want.dtype or not np.array_equal(arrays[name], want):
            case.failures.append(f"{name}: not the same bits")

    # Scaled colours -> 3 x 3 -> 1 x 1 -> normalisation -> mean -> two linear layers.
    mean = np.asarray(case.args["mean"])[:, None, None]
    x = (case["in/x"].astype(np.float64) - mean) * case.args["scale"]
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))
    x = np.einsum("nchwij,ocij->nhwo", windows, arrays["layers.conv.weight"])
    x = (x + arrays["layers.conv.bias"]) @ arrays["layers.mixed_1.0.weight"][:, :, 0, 0].T
    norm = {n: arrays[f"layers.mixed_1.1.{n}"] for n in ("running_mean", "running_var", "bias")}
    deviation = np.sqrt(norm["running_var"] + case.args["bn_eps"])
    x = (x - norm["running_mean"]) / deviation * arrays["layers.mixed_1.1.weight"] + norm["bias"]
    features = x.mean((1, 2)) @ arrays["layers.fc1.weight"].T + arrays["layers.fc1.bias"]
    case.check("out/features", features)
    case.check("out/y", features @ arrays["output.weight"].T + arrays["output.bias"])
