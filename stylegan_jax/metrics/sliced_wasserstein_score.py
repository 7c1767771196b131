"""The sliced Wasserstein distance as a score of a run."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np

from stylegan_jax.metrics.laplacian_pyramid import num_levels
from stylegan_jax.metrics.names import MetricName
from stylegan_jax.metrics.patches import NUM_PATCHES, PATCH_SIZE
from stylegan_jax.metrics.reals import Images
from stylegan_jax.metrics.sliced_wasserstein_floor import check_halves, swd_floor
from stylegan_jax.metrics.sliced_wasserstein_sides import evaluate_swd, real_descriptors


class SwdScore:
    """The distance of a run's samples to its reals: the same images and directions every time.

    `evaluate(draw)` is what is logged, and `describe` a line about it.
    """

    def __init__(self, reals: Images, *, num_images: int, mirror: bool, name: str = "swd"):
        """Remembers what is compared; nothing is computed before the first score.

        Args:
            reals: The training set.
            num_images: Fakes to judge, and draws from the reals.
            mirror: Whether training mirrors its images.
            name: What values are called.

        Raises:
            ValueError: The metric is not defined for the reals' size, or for so few.
        """
        check_halves(len(reals))
        self._reals = reals
        self._image_shape = np.shape(reals[0])
        num_levels(*self._image_shape[:2])
        self._num_images = num_images
        self._mirror = mirror
        self._name = name
        self._descriptors: dict[int, np.ndarray] = {}
        self._floor: dict[str, float] = {}

    def host_bytes(self, num_images: int) -> int:
        """Returns the memory of the host that scoring so many images takes, at most."""
        height, width, channels = self._image_shape
        level = num_images * NUM_PATCHES * PATCH_SIZE**2 * channels * 4  # float32
        # Those of the reals, two more sets while these are compared with themselves, and a few
        # dozen projections of two levels with their sorted copies.
        return level * (3 * num_levels(height, width) + 3)

    def evaluate(
        self, draw: Callable[[int], Iterable[jax.Array]], key: jax.Array
    ) -> dict[str, float]:
        """Scores the fakes that `draw(num_images)` yields.

        Args:
            draw: What draws the fakes.
            key: Random key of everything else; the same one every time.

        Returns:
            `swd`, or the name that was given, `swd_<level>`, and the reals against themselves, see
            swd_floor.
        """
        # The reals' side stays the same throughout a run.
        if not self._descriptors:
            self._descriptors = real_descriptors(
                self._reals, key, num_images=self._num_images, mirror=self._mirror
            )
            self._floor = swd_floor(
                self._reals,
                key,
                num_images=self._num_images,
                mirror=self._mirror,
                num_splits=1,
            )
        found = evaluate_swd(self._descriptors, draw(self._num_images), key) | self._floor
        return {self._name + key.removeprefix("swd"): value for key, value in found.items()}

    def describe(self, values: Mapping[str, float]) -> str:
        """Says the score, and the reals' own beside it."""
        score, floor = values[self._name], values[f"{self._name}_floor"]
        return f"{self._name} {score:.1f} (reals against reals {floor:.1f})"

    def protocol(self, name: MetricName) -> dict[str, Any]:
        """Says what, beside the fakes, made the values."""
        del name
        return {
            "reals": len(self._reals),
            "draws_of_reals": self._num_images,
            "mirror": self._mirror,
            "patches": f"{NUM_PATCHES} of {PATCH_SIZE} px per image and level",
        }
