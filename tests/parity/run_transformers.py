"""Runners of the `feat_*` cases of transformers: DINO, CLIP and its tokenizer."""

import html
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from stylegan_jax.convert.pretrained import clip as clip_names
from stylegan_jax.convert.pretrained import dino as dino_names
from stylegan_jax.models.pretrained import clip_tokenizer
from stylegan_jax.models.pretrained.clip import CLIP, MEAN, STD, ImageSizes, TextSizes, unit
from stylegan_jax.models.pretrained.dino import DINO
from stylegan_jax.models.pretrained.frozen_layers import normalize_colours
from stylegan_jax.models.pretrained.vit import PositionRule
from tests.parity.case import Case, to_nchw, to_nhwc
from tests.parity.recipe import check_sums, draw_parameters, module_of, stored_shapes


def check_gradients(case: Case, prefix: str, gradients: Any, convert: Any) -> None:
    """Compares those gradients of parameters that are stored, in our layout."""
    for name, want in case.below(prefix).items():
        if name == "image":
            continue
        for path, leaf in jax.tree_util.tree_leaves_with_path(convert({name: want})):
            got = gradients
            for part in path:
                got = got[part.key]
            case.compared.add(prefix + name)
            case.compare(prefix + name, np.asarray(got), leaf)


# Rules of the positions: name in the cases -> ours.
_RULES: dict[str, PositionRule] = {
    "flex_bilinear": "bilinear",
    "timm_bicubic_antialias": "bicubic",
    "dino_repo_bicubic": "dino",
}


def dino_cases(case: Case) -> None:
    """Tokens after every block, gradients, and other sizes under each rule of positions."""
    kwargs = case.args["kwargs"]
    params = dino_names.params_from_official(case.below("params/"))
    graphdef, params = module_of(
        DINO,
        params,
        img_resolution=kwargs["img_size"],
        patch_size=kwargs["patch_size"],
        width=kwargs["embed_dim"],
        num_layers=kwargs["depth"],
        num_heads=kwargs["num_heads"],
        hidden_features=int(kwargs["embed_dim"] * kwargs.get("mlp_ratio", 4)),
    )

    def total(params: Any, x: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        tokens = nnx.merge(graphdef, params)(x)
        # The gradient is of what the middle block gives.
        return jnp.sum(tokens[f"block{kwargs['depth'] // 2}"] * case["in/R"]), tokens

    x = to_nhwc(case["in/image"])
    (_, tokens), gradients = jax.jit(jax.value_and_grad(total, (0, 1), has_aux=True))(params, x)
    for name, got in tokens.items():
        case.check(f"out/{name}", got)
    case.check("out/grad/image", to_nchw(gradients[1]))
    check_gradients(case, "out/grad/", gradients[0], dino_names.params_from_official)

    @jax.jit
    def resized(params: Any, x: jax.Array) -> dict[str, dict[str, jax.Array]]:
        module = nnx.merge(graphdef, params)
        return {theirs: module(x, rule) for theirs, rule in _RULES.items()}

    for size, image in case.below("in/image_").items():
        for theirs, got in resized(params, to_nhwc(image)).items():
            case.offer(f"out/{size}/{theirs}/norm", got["norm"])
            case.offer(f"out/{size}/{theirs}/embed", got["embed"])


def dino_recipe_cases(case: Case) -> None:
    """The full size."""
    drawn = draw_parameters(stored_shapes(case), case.args["seed"], case.args["gain"])
    check_sums(case, drawn)
    graphdef, params = module_of(DINO, dino_names.params_from_official(drawn))
    x = normalize_colours(to_nhwc(case["in/image"]).astype(jnp.float32))
    tokens = jax.jit(lambda params, x: nnx.merge(graphdef, params)(x))(params, x)
    rows = np.asarray(case.args["rows"])
    for name, got in tokens.items():
        case.offer(f"out/{name}", got[0, rows])
        case.offer(f"out/{name}_absmean", jnp.mean(jnp.abs(got)))


def _sizes(cfg: dict[str, Any]) -> dict[str, Any]:
    """Our arguments of open_clip's settings."""
    vision, text = cfg["vision_cfg"], cfg["text_cfg"]
    width = vision["width"]
    return dict(
        image=ImageSizes(
            img_resolution=vision["image_size"],
            patch_size=vision["patch_size"],
            width=width,
            num_layers=vision["layers"],
            num_heads=width // vision.get("head_width", 64),
            hidden_features=int(width * vision.get("mlp_ratio", 4)),
        ),
        text=TextSizes(
            context_length=text["context_length"],
            vocab_size=text["vocab_size"],
            width=text["width"],
            num_layers=text["layers"],
            num_heads=text["heads"],
            hidden_features=4 * text["width"],
        ),
        embed_dim=cfg["embed_dim"],
    )


def clip_cases(case: Case) -> None:
    """Both towers block by block, logits, and the gradients of the guidance's loss."""
    sizes = _sizes(case.args["cfg"]) | dict(use_quick_gelu=case.args["quick_gelu"])
    graphdef, params = module_of(
        CLIP, clip_names.params_from_official(case.below("params/")), **sizes
    )

    def loss(params: Any, x: jax.Array) -> tuple[jax.Array, dict[str, Any]]:
        module = nnx.merge(graphdef, params)
        image, text = module.image(x), module.text(jnp.asarray(case["in/tokens"]))
        a, b = image["features"], text["features"]
        # Squared angle (StyleGAN-T, section 4).
        angle = jnp.arccos(jnp.sum(unit(a) * unit(b), axis=-1))
        got = {f"visual_{name}": value for name, value in image.items()}
        got |= {f"text_{name}": value for name, value in text.items()}
        got |= {"logits_per_image": module.logits(a, b), "image_features": a}
        got |= {"image_normalized": unit(a), "text_normalized": unit(b)}
        return jnp.mean(angle**2), got

    x = to_nhwc(case["in/image"])
    (value, got), gradients = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(params, x)
    case.check("out/spherical_loss", value)
    for name, array in got.items():
        case.offer(f"out/{name}", array)
    case.check("out/grad/image", to_nchw(gradients[1]))
    check_gradients(case, "out/grad/", gradients[0], clip_names.params_from_official)


def clip_recipe_cases(case: Case) -> None:
    """The full size."""
    drawn = draw_parameters(stored_shapes(case), case.args["seed"], case.args["gain"])
    check_sums(case, drawn)
    sizes = _sizes(case.args["cfg"]) | dict(use_quick_gelu=case.args["quick_gelu"])
    graphdef, params = module_of(CLIP, clip_names.params_from_official(drawn), **sizes)
    del drawn
    ids = jnp.asarray(case["in/tokens"])

    @jax.jit
    def run(params: Any, x: jax.Array) -> tuple[Any, Any, jax.Array]:
        module = nnx.merge(graphdef, params)
        image, text = module.image(x), module.text(ids)
        return image, text, module.logits(image["features"], text["features"])

    x = normalize_colours(to_nhwc(case["in/image"]).astype(jnp.float32), MEAN, STD)
    image, text, logits = run(params, x)
    case.check("out/image_features", image["features"])
    case.check("out/text_features", text["features"])
    case.check("out/logits_per_image", logits)
    for name, got in image.items():
        if f"out/tokens_visual_{name}" in case:
            case.check(f"out/tokens_visual_{name}", got[0, np.asarray([0, 1, 100, 256])])
    for name, got in text.items():
        if f"out/tokens_text_{name}" in case:
            rows = [got[i, np.asarray([0, 3, end])] for i, end in enumerate(ids.argmax(axis=1))]
            case.check(f"out/tokens_text_{name}", jnp.stack(rows))


def tokenizer_cases(case: Case) -> None:
    """Token ids, and the texts between."""
    pytest.importorskip("instant_clip_tokenizer")
    pytest.importorskip("ftfy")

    def texts(name: str) -> list[str]:
        return json.loads(case[name].tobytes().decode())

    given = texts("in/texts_json")
    args = case.args
    case.check("out/ids", clip_tokenizer.tokenize(given, args["context_length"]))
    case.check("out/ids_context16", clip_tokenizer.tokenize(given, args["context_small"]))
    cleaned = [clip_tokenizer.clean(text) for text in given]
    tokens = [clip_tokenizer.encode(text) for text in cleaned]
    case.check("out/num_tokens", np.asarray([len(t) + 2 for t in tokens]))
    _check_texts(case, "out/clean_json", cleaned, texts("out/clean_json"))
    decoded = [clip_tokenizer.decode(t) for t in tokens]
    _check_texts(case, "out/decoded_json", decoded, texts("out/decoded_json"))
    # Texts that would be other ones without the first step.
    raw = [" ".join(html.unescape(html.unescape(text)).split()).lower() for text in given]
    unmended = [clip_tokenizer.encode(text) for text in raw]
    needed = [a != b for a, b in zip(tokens, unmended, strict=True)]
    case.check("out/need_ftfy", np.asarray(needed))


def _check_texts(case: Case, name: str, got: list[str], want: list[str]) -> None:
    """Compares lists of texts."""
    case.compared.add(name)
    for a, b in zip(got, want, strict=True):
        if a != b:
            case.failures.append(f"{name}: {a[:60]!r}, wanted {b[:60]!r}")
