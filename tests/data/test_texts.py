"""Texts in two arrays: what goes in comes out, in any order."""

import pickle

import numpy as np
import pytest

from stylegan_jax.data.texts import Texts

WORDS = ["a cat", "", "ein Hündchen", "\u732b", "two\nlines\0", ""]


def test_texts_come_back():
    texts = Texts.from_strings(WORDS)
    assert len(texts) == 6 and texts.tolist() == list(texts) == WORDS
    assert texts[2] == WORDS[2] and texts[-3] == WORDS[-3]
    with pytest.raises(IndexError):
        texts[6]
    assert pickle.loads(pickle.dumps(texts)).tolist() == WORDS


def test_some_of_them_in_another_order():
    texts = Texts.from_strings(WORDS)
    chosen = texts[np.array([3, 0, 3, -1])]
    assert chosen.tolist() == [WORDS[3], WORDS[0], WORDS[3], WORDS[-1]]
    assert texts[1:4].tolist() == WORDS[1:4]
    assert texts[np.array([], np.int64)].tolist() == []


def test_arrays_are_utf8_end_to_end():
    texts = Texts.from_strings(["ü", "", "b"])
    assert texts.utf8.tobytes() == b"\xc3\xbcb" and texts.utf8.dtype == np.uint8
    np.testing.assert_array_equal(texts.offsets, [0, 2, 2, 3])
    assert texts.offsets.dtype == np.int64


@pytest.mark.parametrize("offsets", [[], [0, 1], [1, 3], [0, 2, 1, 3]])
def test_offsets_that_do_not_fit(offsets):
    with pytest.raises(ValueError, match="offsets that do not fit 3 bytes"):
        Texts(np.zeros(3, np.uint8), np.array(offsets, np.int64))


def test_half_a_surrogate_pair_is_refused():
    with pytest.raises(ValueError, match="surrogates not allowed"):
        Texts.from_strings(["\ud800"])
