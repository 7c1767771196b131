"""Names of CLIP's tensors: OpenAI's, which open_clip has, too."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from stylegan_jax.convert.pretrained.naming import from_torch, rename

_LEAF = r"\.(weight|bias)"
# Layers of a block.
_BLOCK = {
    rf"ln_([12]){_LEAF}": r"norm\2.\3",
    r"attn\.in_proj_(weight|bias)": r"attn.qkv.\2",
    rf"attn\.out_proj{_LEAF}": r"attn.proj.\2",
    rf"mlp\.c_fc{_LEAF}": r"fc1.\2",
    rf"mlp\.c_proj{_LEAF}": r"fc2.\2",
}
_NAMES: dict[str, str | None] = {
    # Numbers of OpenAI's file that the shapes tell, too.
    "input_resolution|context_length|vocab_size": None,
    r"visual\.conv1\.weight": "image.embed.patch.weight",
    r"visual\.class_embedding": "image.embed.cls",
    r"visual\.positional_embedding": "image.embed.pos",
    rf"visual\.(ln_pre|ln_post){_LEAF}": r"image.\1.\2",
    r"visual\.proj": "image.proj",
    r"token_embedding\.weight": "text.token",
    "positional_embedding": "text.pos",
    rf"ln_final{_LEAF}": r"text.ln_final.\1",
    "text_projection": "text.proj",
    "logit_scale": "logit_scale",
    **{
        rf"{theirs}transformer\.resblocks\.(\d+)\.{layer}": rf"{ours}.blocks.block\1.{name}"
        for theirs, ours in ((r"visual\.", "image"), ("", "text"))
        for layer, name in _BLOCK.items()
    },
}


def params_from_official(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Turns official tensors into parameters of `models.pretrained.clip.CLIP`.

    Args:
        arrays: `{"visual.conv1.weight": ..., "token_embedding.weight": ...}`, of any precision.

    Raises:
        CheckpointFileError: A name is another.
    """
    return from_torch(rename(arrays, _NAMES))
