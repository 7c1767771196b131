"""Names of DINO and CLIP; whole networks are compared in tests/parity."""

import numpy as np
import pytest

from stylegan_jax.convert.pretrained import clip, dino
from stylegan_jax.convert.readers.records import CheckpointFileError


def test_names_of_dino():
    got = dino.params_from_official(
        {
            "cls_token": np.zeros((1, 1, 2)),
            "pos_embed": np.zeros((1, 5, 2)),
            "blocks.11.mlp.fc1.weight": np.zeros((8, 2)),
        }
    )
    assert got["embed"]["cls"].shape == (2,) and got["embed"]["pos"].shape == (5, 2)
    assert got["blocks"]["block11"]["fc1"]["weight"].shape == (2, 8)
    with pytest.raises(CheckpointFileError, match="head.weight"):
        dino.params_from_official({"head.weight": np.zeros((2, 2))})


def test_names_of_clip():
    got = clip.params_from_official(
        {
            # Halves, and numbers that OpenAI's file has besides.
            "visual.proj": np.zeros((4, 3), np.float16),
            "visual.transformer.resblocks.0.ln_2.bias": np.zeros(4),
            "transformer.resblocks.10.attn.in_proj_weight": np.zeros((12, 4)),
            "logit_scale": np.ones(()),
            "input_resolution": np.zeros(()),
            "context_length": np.zeros(()),
            "vocab_size": np.zeros(()),
        }
    )
    assert got.keys() == {"image", "text", "logit_scale"}
    assert got["image"]["proj"].shape == (4, 3) and got["image"]["proj"].dtype == np.float32
    assert got["image"]["blocks"]["block0"]["norm2"]["bias"].shape == (4,)
    assert got["text"]["blocks"]["block10"]["attn"]["qkv"]["weight"].shape == (4, 12)
    with pytest.raises(CheckpointFileError, match="vision_model.embeddings"):
        clip.params_from_official({"vision_model.embeddings": np.zeros(2)})
