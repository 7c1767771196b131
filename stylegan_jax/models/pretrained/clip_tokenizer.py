"""Texts as CLIP reads them: cleaned, cut into pieces of words, numbered."""

import functools
import html
import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

START, END = 49406, 49407
CONTEXT_LENGTH = 77


def tokenize(texts: Sequence[str], context_length: int = CONTEXT_LENGTH) -> np.ndarray:
    """Numbers the tokens of texts: a start, the text, an end, and zeros behind it.

    A text that is too long is cut; its last token becomes the end.

    Args:
        texts: Captions in any language; CLIP was trained with English.
        context_length: Tokens of each, at least 2.

    Returns:
        int32 `[n, context_length]`.

    Raises:
        ImportError: A package is missing; says which.
        ValueError: A length below 2.

    Source: Radford et al. 2021, section 2.4. Checked: tests/parity, case `feat_clip_tokenizer`.
    """
    if context_length < 2:
        raise ValueError(f"context_length={context_length}: start and end need 2 or more.")
    ids = np.zeros((len(texts), context_length), np.int32)
    for row, text in zip(ids, texts, strict=True):
        tokens = [START, *encode(clean(text)), END]
        if len(tokens) > context_length:
            tokens = [*tokens[: context_length - 1], END]
        row[: len(tokens)] = tokens
    return ids


def clean(text: str) -> str:
    """Mends broken encodings, resolves HTML, joins what blanks part by one, lower case."""
    text = html.unescape(html.unescape(_packages()[0](text)))
    return " ".join(text.split()).lower()


def encode(cleaned: str) -> list[int]:
    """Returns the tokens of a cleaned text, without start and end."""
    return _packages()[1].encode(cleaned)


def decode(tokens: Sequence[int]) -> str:
    """Returns a text of tokens, with a blank after every word."""
    return _packages()[1].decode([int(token) for token in tokens])


@functools.cache
def _packages() -> tuple[Any, Any]:
    """Loads the mender of texts and the vocabulary, which only texts need."""
    try:
        ftfy = importlib.import_module("ftfy")
        vocabulary = importlib.import_module("instant_clip_tokenizer")
    except ImportError as error:
        raise ImportError(
            f"{error}. Texts are read with two packages: pip install ftfy instant-clip-tokenizer"
        ) from error
    return ftfy.fix_text, vocabulary.Tokenizer()
