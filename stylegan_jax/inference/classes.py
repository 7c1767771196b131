"""Classes by number and name, and the label vectors of networks."""

import difflib
from collections.abc import Sequence

import numpy as np

# Names of classes that an error lists.
_MOST_NAMES = 20


def find_class(wanted: int | str, c_dim: int, class_names: Sequence[str]) -> int:
    """Returns the number of a class.

    Args:
        wanted: Its number, its digits, or its name; of several that are spelt alike but for
            capitals, the one that is spelt as given.
        c_dim: How many the network knows.
        class_names: Their names, or none.

    Raises:
        ValueError: The network does not know it; says which names are near.
    """
    text = str(wanted)
    if text.isdecimal() and int(text) < c_dim:
        return int(text)
    if text in class_names:
        return list(class_names).index(text)
    lower = [name.lower() for name in class_names]
    if lower.count(text.lower()) == 1:
        return lower.index(text.lower())

    if not c_dim:
        raise ValueError(f"class={wanted}: this network knows none: it has no labels.")
    names = difflib.get_close_matches(text.lower(), lower, n=5) or lower[:_MOST_NAMES]
    near = ", ".join(class_names[lower.index(name)] for name in names)
    raise ValueError(
        f"class={wanted}: this network knows 0 to {c_dim - 1}"
        + (f", or by name: {near}." if near else ".")
    )


def one_hot(classes: np.ndarray, c_dim: int) -> np.ndarray:
    """Returns label vectors of classes, float32 `[n, c_dim]`; of no length without labels."""
    return np.eye(max(c_dim, 1), dtype=np.float32)[classes][:, :c_dim]


def check_labels(c: np.ndarray | None, n: int, c_dim: int) -> np.ndarray:
    """Returns one label vector per image, float32 `[n, c_dim]`.

    Args:
        c: Vectors `[n, c_dim]`, or one for all `[c_dim]`; None for networks without labels.
        n: Number of images.
        c_dim: Length of a vector.

    Raises:
        ValueError: None for a network with labels, or another shape.
    """
    if c is None:
        if c_dim:
            raise ValueError(
                f"This network was trained with labels: give c, vectors [{n}, {c_dim}] with a 1 "
                "at the class, or draw with sample(seeds, class_idx=...)."
            )
        return np.zeros((n, 0), np.float32)
    c = np.asarray(c, np.float32)
    if c.shape not in ((n, c_dim), (c_dim,)):
        raise ValueError(
            f"c has the shape {list(c.shape)}: wanted are label vectors [{n}, {c_dim}]."
        )
    return np.broadcast_to(c, (n, c_dim))
