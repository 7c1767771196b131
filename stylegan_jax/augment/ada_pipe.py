"""Which transformations a pipe of StyleGAN2-ADA has, how likely and how strong they are."""

import dataclasses
import math
from typing import Any

# The transformations by category, in the order in which images go through them.
CATEGORIES: dict[str, tuple[str, ...]] = {
    "blit": ("xflip", "rotate90", "xint"),
    "geom": ("scale", "rotate", "aniso", "xfrac"),
    "color": ("brightness", "contrast", "lumaflip", "hue", "saturation"),
    "filter": ("imgfilter",),
    "noise": ("noise",),
    "cutout": ("cutout",),
}
TRANSFORMATIONS = tuple(name for names in CATEGORIES.values() for name in names)


@dataclasses.dataclass(frozen=True)
class Pipe:
    """Numbers of a pipe, under the original's names; all static, and hashable.

    Attributes:
        xflip: Multiplier of the strength p, as all that follow down to `cutout`: the
            transformation happens with probability `multiplier * p`; 0: never.
        rotate90: Quarter turns.
        xint: Translation by whole pixels.
        scale: Zoom of both axes.
        rotate: Rotation, in two steps before and after `aniso`.
        aniso: Zoom of one axis by what the other shrinks.
        xfrac: Translation by fractions of a pixel.
        brightness: Addition to all colours.
        contrast: Factor on all colours.
        lumaflip: Lightness in reverse, hue and saturation kept.
        hue: Rotation of colours about grey.
        saturation: Factor on the distance from grey.
        imgfilter: Four frequency bands, each made stronger or weaker.
        noise: White noise.
        cutout: A grey rectangle.
        xint_max: Largest translation, as a share of the side.
        scale_std: Standard deviation of log2 of the zoom.
        rotate_max: Largest angle, as a share of half a turn.
        aniso_std: Standard deviation of log2 of the zoom.
        xfrac_std: Standard deviation of the translation, as a share of the side.
        brightness_std: Standard deviation of what is added.
        contrast_std: Standard deviation of log2 of the factor.
        hue_max: Largest angle, as a share of half a turn.
        saturation_std: Standard deviation of log2 of the factor.
        imgfilter_bands: Multipliers of the four bands, lowest first.
        imgfilter_std: Standard deviation of log2 of a band's factor.
        noise_std: Standard deviation of the noise's standard deviation.
        cutout_size: Sides of the rectangle, as shares of the image's.

    Source: Karras et al. 2020 (StyleGAN2-ADA), appendix B.
    """

    xflip: float = 0.0
    rotate90: float = 0.0
    xint: float = 0.0
    scale: float = 0.0
    rotate: float = 0.0
    aniso: float = 0.0
    xfrac: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    lumaflip: float = 0.0
    hue: float = 0.0
    saturation: float = 0.0
    imgfilter: float = 0.0
    noise: float = 0.0
    cutout: float = 0.0
    # How strong.
    xint_max: float = 0.125
    scale_std: float = 0.2
    rotate_max: float = 1.0
    aniso_std: float = 0.2
    xfrac_std: float = 0.125
    brightness_std: float = 0.2
    contrast_std: float = 0.5
    hue_max: float = 1.0
    saturation_std: float = 1.0
    imgfilter_bands: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    imgfilter_std: float = 1.0
    noise_std: float = 0.1
    cutout_size: float = 0.5

    def __post_init__(self) -> None:
        """Refuses numbers that mean nothing.

        Raises:
            ValueError: A number that is negative or not finite, or another number of bands.
        """
        numbers = dataclasses.asdict(self)
        bands = numbers.pop("imgfilter_bands")
        if len(bands) != 4:
            raise ValueError(f"imgfilter_bands={bands}: give four multipliers, lowest band first.")
        numbers |= {f"imgfilter_bands[{i}]": band for i, band in enumerate(bands)}
        for name, number in numbers.items():
            if not 0 <= number < math.inf:
                raise ValueError(f"{name}={number}: give a number of at least 0.")

    def has(self, category: str) -> bool:
        """Whether any transformation of a category may happen."""
        return any(getattr(self, name) for name in CATEGORIES[category])

    @property
    def moves_pixels(self) -> bool:
        """Whether images are resampled."""
        return self.has("blit") or self.has("geom")


def _pipe(*categories: str, **numbers: Any) -> Pipe:
    """All transformations of some categories; `numbers` change the pipe."""
    names = [name for category in categories for name in CATEGORIES[category]]
    given: dict[str, Any] = dict.fromkeys(names, 1.0)
    return Pipe(**(given | numbers))


# By the names of the original's recipes; `r3gan` is what R3GAN trains with.
PIPES: dict[str, Pipe] = {
    **{category: _pipe(category) for category in CATEGORIES},
    "bg": _pipe("blit", "geom"),
    "bgc": _pipe("blit", "geom", "color"),
    "bgcf": _pipe("blit", "geom", "color", "filter"),
    "bgcfn": _pipe("blit", "geom", "color", "filter", "noise"),
    "bgcfnc": _pipe("blit", "geom", "color", "filter", "noise", "cutout"),
    "r3gan": _pipe("blit", "geom", "cutout", **dict.fromkeys(CATEGORIES["color"], 0.5)),
}


def find_pipe(name: str) -> Pipe:
    """The pipe of a name.

    Raises:
        ValueError: There is none; names those that there are.
    """
    if name not in PIPES:
        raise ValueError(f"no augmentation pipe {name!r}: choose one of {', '.join(PIPES)}.")
    return PIPES[name]
