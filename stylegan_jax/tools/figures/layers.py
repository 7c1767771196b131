"""Coarse, middle and fine layers, of a network with any number of them."""

from collections.abc import Sequence

import numpy as np


def layer_boundaries(num_ws: int) -> tuple[int, int]:
    """Chooses where middle and fine layers begin, at the paper's proportions: 18 gives (4, 8).

    The boundaries are 4/18 and 8/18 of `num_ws`, rounded to even numbers (two layers share a
    resolution), with at least two coarse and two middle layers.

    Raises:
        ValueError: So few layers that none is left for the fine ones.
    """
    # In pairs of layers, one pair per resolution.
    first = max(2, 2 * round(num_ws * 4 / 18 / 2))
    second = max(first + 2, 2 * round(num_ws * 8 / 18 / 2))
    if second >= num_ws:
        raise ValueError(
            f"{num_ws} layers are too few for two coarse, two middle and some fine ones: choose "
            f"the layers where middle and fine begin, as in --boundaries=1,2."
        )
    return first, second


def check_boundaries(num_ws: int, boundaries: Sequence[int] | None) -> tuple[int, int]:
    """Refuses boundaries that leave a band empty; None: chooses them.

    Raises:
        ValueError: Not two numbers, or not ascending within the layers.
    """
    if boundaries is None:
        return layer_boundaries(num_ws)
    if len(boundaries) != 2 or not 0 < boundaries[0] < boundaries[1] < num_ws:
        raise ValueError(
            f"boundaries={','.join(map(str, boundaries))}: give two numbers, the layers where "
            f"middle and fine begin, ascending and from 1 to {num_ws - 1}."
        )
    return boundaries[0], boundaries[1]


def span(layers: Sequence[int]) -> str:
    """Writes layer numbers as a range where they are one."""
    if len(layers) > 1 and list(layers) == list(range(layers[0], layers[-1] + 1)):
        return f"{layers[0]}-{layers[-1]}"
    return ",".join(map(str, layers))


def choose_copied_styles(
    num_ws: int,
    num_rows: int,
    boundaries: Sequence[int] | None,
    copied_styles: Sequence[int] | None,
) -> list[tuple[str, list[int]]]:
    """Chooses each row's label and the styles that it copies.

    Args:
        num_ws: Styles of the network.
        num_rows: How many rows the figure has.
        boundaries: Where middle and fine layers begin; None: at the paper's proportions.
        copied_styles: The same for all rows, in place of the three bands.

    Returns:
        `(label, layers)` per row, coarse rows first.

    Raises:
        ValueError: Both are given, or layers that the network does not have.
    """
    # The same layers everywhere.
    if copied_styles is not None:
        if boundaries is not None:
            raise ValueError(
                "Give copied_styles or boundaries, not both: the one replaces the other."
            )
        layers = sorted(set(copied_styles))
        if layers and not 0 <= layers[0] <= layers[-1] < num_ws:
            raise ValueError(
                f"copied_styles={span(layers)}: this network has styles 0-{num_ws - 1}."
            )
        return [(f"styles {span(layers)}", layers)] * num_rows

    # The three bands and their names.
    middle, fine = check_boundaries(num_ws, boundaries)
    bands = [range(middle), range(middle, fine), range(fine, num_ws)]
    named = [(f"{name} {span(b)}", list(b)) for name, b in zip(("coarse", "middle", "fine"), bands)]
    # The first n of this pattern hold coarse, middle and fine as 3 : 2 : 1, for any n.
    return [named[band] for band in sorted(np.resize([0, 1, 2, 0, 1, 0], num_rows))]
