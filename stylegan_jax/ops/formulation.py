"""How each platform computes an op: one table, by platform and shape, with its reasons."""

import dataclasses
from typing import Literal

import jax

from stylegan_jax.ops.packing import UNPACKED, Packing
from stylegan_jax.sizes import Size

Filter = Literal["matrix", "shifts", "depthwise"]
# Ways to move augmented images (`augment/ada_resampling.py`). `gather`: all at once, by reading
# between pixels. `by_image`: one after the other, by products with matrices where the axes are
# kept apart. `by_tiles`: likewise, and what is rotated by products, too.
Resampling = Literal["gather", "by_image", "by_tiles"]

# Below it feature maps are too small to matter, and their blocks end in dense layers; images keep
# as many columns.
_MIN_PACKED_SIDE = 8


@dataclasses.dataclass(frozen=True)
class Formulation:
    """Ways to compute the same results; docs/performance.md has the measurements.

    Attributes:
        packed_channels: Feature maps with fewer channels are packed (`ops/packing.py`) until they
            have this many, columns first; so are images. 0: never.
        max_packing: Pixels in a packed channel of feature maps at most.
        folded_from: Up- and down-sampling convolutions fold their filter into the kernel where
            the finer side has at least this many pixels; below it, the filter runs beside a
            strided or a transposed convolution. None: they never fold.
        matrix_up_to: Filters are products with a banded matrix on sides of at most this many
            pixels: its work per pixel grows with the side.
        longer_fir: How they are computed on longer sides.
        recomputed_from: Blocks of at least this resolution keep only what enters them for the
            gradient of path lengths, and compute the rest again; None: none do.
        resampling: How augmented images are moved.
        filtered: How the two filters around a leaky ReLU are computed.
        phases_from: They are computed phase by phase instead (`ops/phases.py`) where the zoomed
            map has a side of at least so many pixels. None: never.
        one_by_one_from: Leaky ReLUs between filters are computed image by image where the zoomed
            map has a side of at least so many pixels. None: never, unless by phases.
    """

    packed_channels: int
    max_packing: int
    folded_from: int | None
    matrix_up_to: int
    longer_fir: Filter
    recomputed_from: int | None = None
    resampling: Resampling = "gather"
    filtered: Filter = "shifts"
    phases_from: int | None = None
    one_by_one_from: int | None = None

    def packing(self, size: Size, channels: int) -> Packing:
        """How feature maps are packed, `(y, x)`; what they are packed by divides their size."""
        py, px = UNPACKED
        while (
            min(size) >= _MIN_PACKED_SIDE
            and py * px * channels * 2 <= self.packed_channels
            and py * px * 2 <= self.max_packing
        ):
            # Columns first: (1, 2), (2, 2), (2, 4), ...
            wider = (py, px * 2) if py == px else (py * 2, px)
            if size[0] % wider[0] or size[1] % wider[1]:
                break
            py, px = wider
        return py, px

    def image_packing(self, size: Size, channels: int, packing: Packing) -> Packing:
        """How images are packed beside feature maps packed by `packing`: wider, for few colours."""
        py, px = packing
        width = size[1]
        while (
            py * px * channels * 2 <= self.packed_channels
            and width >= px * 2 * _MIN_PACKED_SIDE
            and width % (px * 2) == 0
        ):
            px *= 2
        return py, px

    def recomputes(self, resolution: int) -> bool:
        """Whether a block of this resolution is computed again for the gradient of path lengths."""
        return self.recomputed_from is not None and resolution >= self.recomputed_from

    def by_phases(self, zoomed_side: int) -> bool:
        """Whether a leaky ReLU between filters is computed phase by phase."""
        return self.phases_from is not None and zoomed_side >= self.phases_from

    def one_by_one(self, zoomed_side: int) -> bool:
        """Whether a leaky ReLU between filters is computed image by image."""
        return self.one_by_one_from is not None and zoomed_side >= self.one_by_one_from

    def folds(self, finer_side: int) -> bool:
        """Whether a resampling convolution folds its filter into the kernel."""
        return self.folded_from is not None and finer_side >= self.folded_from

    def fir(self, side: int) -> Filter:
        """How a filter over an image of this side is computed."""
        return "matrix" if side <= self.matrix_up_to else self.longer_fir


FORMULATIONS = {
    # Strided convolutions with filters beside them take half the time of folded ones; a filter by
    # shifts a third of that by a matrix.
    "cpu": Formulation(
        packed_channels=0,
        max_packing=1,
        folded_from=None,
        matrix_up_to=0,
        longer_fir="shifts",
        resampling="by_image",
        # Below it shifts compile faster, and use all cores.
        phases_from=64,
    ),
    "tpu": Formulation(
        packed_channels=128,
        max_packing=4,
        folded_from=512,
        matrix_up_to=0,
        longer_fir="depthwise",
        recomputed_from=1024,
        resampling="by_tiles",
        filtered="matrix",
        one_by_one_from=1024,
    ),
    "gpu": Formulation(
        packed_channels=0,
        max_packing=1,
        folded_from=None,
        matrix_up_to=0,
        longer_fir="shifts",
    ),
    # What every other code does; benchmarks compare with it.
    "plain": Formulation(
        packed_channels=0,
        max_packing=1,
        folded_from=None,
        matrix_up_to=0,
        longer_fir="depthwise",
        filtered="depthwise",
    ),
}


def platform_formulation() -> Formulation:
    """That of the platform on which this process runs: the default of every op and model."""
    # Platforms by other names are GPUs (`cuda`, `rocm`).
    return FORMULATIONS.get(jax.default_backend(), FORMULATIONS["gpu"])
