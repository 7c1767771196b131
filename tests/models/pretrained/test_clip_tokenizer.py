"""Texts as numbers; the whole is compared in tests/parity, case `feat_clip_tokenizer`."""

import sys

import numpy as np
import pytest

from stylegan_jax.models.pretrained import clip_tokenizer
from stylegan_jax.models.pretrained.clip_tokenizer import END, START, clean, decode, tokenize


def test_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "ftfy", None)
    clip_tokenizer._packages.cache_clear()
    with pytest.raises(ImportError, match="pip install ftfy instant-clip-tokenizer"):
        tokenize(["a cat"])


def test_texts():
    pytest.importorskip("instant_clip_tokenizer")
    assert clean("  Caf&amp;eacute;\n OF  ") == "café of"
    ids = tokenize(["A photo of a cat", ""], 8)
    cat = [320, 1125, 539, 320, 2368]
    np.testing.assert_array_equal(ids, [[START, *cat, END, 0], [START, END, *[0] * 6]])
    np.testing.assert_array_equal(tokenize(["a photo of a cat"], 5), [[START, *cat[:3], END]])
    assert decode(cat) == "a photo of a cat "
    with pytest.raises(ValueError, match="context_length=1: start and end need 2"):
        tokenize(["a"], 1)
