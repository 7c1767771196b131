"""Frozen feature networks of the metrics, of losses and of discriminators, by name."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from flax import nnx

from stylegan_jax.models.pretrained import (
    clip,
    dino,
    efficientnet,
    inception,
    lpips,
    vgg16,
)


class FeatureNetwork(NamedTuple):
    """One network and one way to show it images.

    `make_model(network.make)` of `stylegan_jax.models` is its structure and random weights;
    `stylegan_jax.convert.pretrained.load_pretrained(name)` the published ones.

    Attributes:
        name: Key of `FEATURE_NETWORKS`.
        make: Its class: `make(rngs=...)` is the published network, arguments make smaller ones.
        apply: `(module, img) -> {output: array}`, pure. Images are [n, h, w, c] of any size, bytes
            or floats of 0 to 255, grey or RGB; ValueError says so of other channels. Gradients
            reach floats.
        outputs: Names of what `apply` gives, and their shape for one image; -1: it depends on the
            image's size.
        resolution: Side of the square that images are resized to; None: they are not.
        protocol: What is done to images, in words: `resize`, `normalize` and what else matters.
    """

    name: str
    make: Callable[..., nnx.Module]
    apply: Callable[[Any, Any], dict[str, jax.Array]]
    outputs: dict[str, tuple[int, ...]]
    resolution: int | None
    protocol: dict[str, str]


_INCEPTION = {
    "features": (2048,),
    "logits": (1008,),
    "logits_unbiased": (1008,),
    "spatial": (2023,),
    "features_64": (64,),
    "features_192": (192,),
    "features_768": (768,),
}

FEATURE_NETWORKS: dict[str, FeatureNetwork] = {
    network.name: network
    for network in (
        # The official metrics.
        FeatureNetwork(
            "inception",
            inception.Inception,
            inception.apply_tf1,
            _INCEPTION,
            inception.RESOLUTION,
            {"resize": "TF1 bilinear (i * n / N)", "normalize": "(x - 128) / 128"},
        ),
        # pytorch-fid: the same weights, other numbers.
        FeatureNetwork(
            "inception_torch",
            inception.Inception,
            inception.apply_torch,
            _INCEPTION,
            inception.RESOLUTION,
            {"resize": "bilinear, half-pixel centres", "normalize": "2 * x / 255 - 1"},
        ),
        # Precision and recall.
        FeatureNetwork(
            "vgg16",
            vgg16.VGG16,
            vgg16.apply,
            {"features": (4096,)},
            vgg16.RESOLUTION,
            {"resize": "TF1 bilinear (i * n / N)", "normalize": "ImageNet mean and deviation"},
        ),
        # Path lengths, projection: the squared distance of features is LPIPS.
        FeatureNetwork(
            "lpips",
            lpips.LPIPS,
            lpips.apply,
            {"features": (-1,)},  # as long as images are large
            None,
            {"resize": "none", "normalize": "ImageNet mean and deviation"},
        ),
        # The one network whose weights a pip package brings.
        FeatureNetwork(
            "efficientnet_lite0",
            efficientnet.EfficientNetLite,
            efficientnet.apply,
            {"features": (1280,), "logits": (1000,)},
            efficientnet.RESOLUTION,
            {"resize": "bilinear, antialias", "normalize": "2 * x / 255 - 1"},
        ),
        FeatureNetwork(
            "dino_vits16",
            dino.DINO,
            dino.apply,
            {"features": (384,)},
            dino.RESOLUTION,
            {"resize": "bicubic, antialias", "normalize": "ImageNet mean and deviation"},
        ),
        # StyleGAN-T's score: cosines with texts.
        FeatureNetwork(
            "clip_vitl14",
            clip.CLIP,
            clip.apply,
            {"features": (768,)},
            clip.VIT_L14_IMAGE.img_resolution,
            {"resize": "bicubic (a = -0.75)", "normalize": "CLIP's mean and deviation"},
        ),
    )
}
