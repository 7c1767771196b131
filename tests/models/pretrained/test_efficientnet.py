"""EfficientNet-Lite0's sizes, by shapes alone; numbers are compared in tests/parity."""

import jax

from stylegan_jax.models.pretrained.efficientnet import EfficientNetLite
from tests.models.pretrained import narrow


def test_published_size():
    shapes = narrow.count(EfficientNetLite)[1]
    leaves = jax.tree_util.tree_leaves_with_path(shapes)
    learned = [leaf.size for path, leaf in leaves if "running" not in path[-1].key]
    assert sum(learned) == 4_652_008 and len(leaves) == 247
