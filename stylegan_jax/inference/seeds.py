"""Seeds: their lists as users write them, and the latents that they stand for."""

from collections.abc import Sequence

import numpy as np

# What NumPy's generators take.
_MOST_SEED = 2**32 - 1
# More than any folder is meant to hold; their list alone takes 36 MB.
_MOST_SEEDS = 10**6


def check_seeds(seeds: Sequence[int] | np.ndarray, name: str = "seeds") -> None:
    """Refuses seeds that NumPy's generators do not take.

    Raises:
        ValueError: Names the first of them.
    """
    for seed in seeds:
        if not 0 <= seed <= _MOST_SEED:
            raise ValueError(f"{name}: {seed} is no seed; give numbers from 0 to {_MOST_SEED}.")


def parse_seeds(text: str, name: str = "seeds") -> list[int]:
    """Reads `"0-63"`, `"1,5,7-9"` as a list; `name` is what errors call it.

    Raises:
        ValueError: Something else than numbers and ranges.
    """
    seeds: list[int] = []
    count = 0
    for part in text.split(","):
        first, dash, last = part.partition("-")  # 7 or 7-9
        try:
            part = range(int(first), int(last) + 1) if dash else [int(first)]
        except ValueError:
            raise ValueError(
                f"{name}={text!r}: give numbers and ranges, as 0-63 or 1,5,7-9."
            ) from None
        count += len(part)
        if count > _MOST_SEEDS:
            raise ValueError(
                f"{name}={text!r} are more than {_MOST_SEEDS}: give at most so many at a time."
            )
        seeds += part
    check_seeds(seeds, name)
    if not seeds:
        raise ValueError(f"{name}={text!r} holds no number: give a range such as 0-63.")
    return seeds


def draw_latents(
    seeds: Sequence[int], z_dim: int, num_classes: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Draws one latent per seed, and one class after it.

    Seed n stands for `numpy.random.RandomState(n).randn(z_dim)`, as in the original repositories.

    Args:
        seeds: One generator each, so that an image does not depend on those beside it.
        z_dim: Length of a latent.
        num_classes: How many there are; 0: none.

    Returns:
        `(z, classes)`: float32 `[n, z_dim]`, and int64 `[n]`, zeros without classes.

    Raises:
        ValueError: No seeds, or one that NumPy does not take.
    """
    if len(seeds) == 0:
        raise ValueError("No seeds given: give at least one.")
    check_seeds(seeds)
    draws = [np.random.RandomState(seed) for seed in seeds]
    z = np.stack([r.randn(z_dim) for r in draws]).astype(np.float32)
    # Drawn after z, so that z is the same with a class that is given.
    return z, np.array([r.randint(max(num_classes, 1)) for r in draws])
