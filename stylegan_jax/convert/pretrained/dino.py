"""Names of DINO's tensors, which are the same in timm."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from stylegan_jax.convert.pretrained.naming import from_torch, rename

_LEAF = r"\.(weight|bias)"
_NAMES: dict[str, str | None] = {
    "cls_token": "embed.cls",
    "pos_embed": "embed.pos",
    rf"patch_embed\.proj{_LEAF}": r"embed.patch.\1",
    rf"blocks\.(\d+)\.(norm[12]|attn\.qkv|attn\.proj){_LEAF}": r"blocks.block\1.\2.\3",
    rf"blocks\.(\d+)\.mlp\.(fc[12]){_LEAF}": r"blocks.block\1.\2.\3",
    rf"norm{_LEAF}": r"norm.\1",
}


def params_from_official(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Turns official tensors into parameters of `models.pretrained.dino.DINO`.

    Args:
        arrays: `{"cls_token": [1, 1, d], "pos_embed": [1, l, d], ...}`.

    Raises:
        CheckpointFileError: A name is another.
    """
    renamed = rename(arrays, _NAMES)
    if "embed.cls" in renamed:
        renamed["embed.cls"] = renamed["embed.cls"].reshape(-1)
    if "embed.pos" in renamed:
        renamed["embed.pos"] = renamed["embed.pos"].reshape(-1, renamed["embed.pos"].shape[-1])
    return from_torch(renamed)
