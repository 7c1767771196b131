"""Names of metrics, as the originals print them: `fid50k_full`, `pr50k3_full`, `ppl2_wend` ..."""

import dataclasses
import re
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class MetricName:
    """A metric that was asked for.

    Attributes:
        text: The name itself, under which values are logged.
        family: Key of `FAMILIES`.
        num_images: Fakes to look at; None: all that there are, where these are images.
        options: What else the name says, as `{"full": True}` or `{"space": "w", "at": "end"}`.
    """

    text: str
    family: str
    num_images: int | None
    options: dict[str, str | bool | int]

    @property
    def main(self) -> str:
        """Returns which of its values tells how good images are."""
        return self.text + FAMILIES[self.family].main

    @property
    def is_higher_better(self) -> bool:
        """Tells whether large values are good ones."""
        return FAMILIES[self.family].is_higher_better


@dataclasses.dataclass(frozen=True)
class Family:
    """A kind of metric.

    Attributes:
        pattern: Of whole names; groups are `count` and options.
        example: One of them.
        title: What it is, in words.
        main: What follows the name in the key of its most telling value.
        is_higher_better: Whether large values are good ones.
        default_images: Where a name may go without a count, as its authors' does.
        kilo: What k stands for: 1000, or as in ProGAN's swd16k, of 16,384 images, 1024.
    """

    pattern: str
    example: str
    title: str
    main: str = ""
    is_higher_better: bool = False
    default_images: int | None = None
    kilo: int = 1000


# A number of images: 512, 10k. Names of the authors' comparisons with all reals end in `_full`.
_COUNT = r"(?P<count>\d+k?)?"
_FULL = r"(?P<full>_full)?"

FAMILIES = {
    "fid": Family(f"fid{_COUNT}{_FULL}", "fid50k_full", "Frechet Inception distance"),
    "kid": Family(f"kid{_COUNT}{_FULL}", "kid50k_full", "kernel Inception distance"),
    "is": Family(f"is{_COUNT}", "is50k", "Inception score", "_mean", is_higher_better=True),
    "pr": Family(
        # Neighbours stand behind the k of a count: 50k3.
        rf"pr{_COUNT}(?P<neighbours>(?<=k)\d+)?{_FULL}",
        "pr50k3_full",
        "precision and recall",
        "_precision",
        is_higher_better=True,
    ),
    "ppl": Family(
        # Without the 2 it is StyleGAN's, of the middle of faces.
        r"ppl(?P<whole>2?)_(?P<space>[zw])(?P<at>full|end)(?P<tf>_tf)?(?:_(?P<count>\d+k?))?",
        "ppl2_wend",
        "perceptual path length; ppl_wend of a crop, ppl_wend_tf as in TensorFlow, ppl2_wend_10k "
        "of so many paths",
        default_images=50_000,
    ),
    "ls": Family(
        r"ls(?:_(?P<count>\d+k?))?",
        "ls",
        "linear separability",
        "_w",
        default_images=200_000,
    ),
    "eqt": Family(
        rf"eqt{_COUNT}_(?P<step>int|frac)",
        "eqt50k_int",
        "equivariance to translation in dB, by whole pixels (_int) or any distance (_frac)",
        is_higher_better=True,
        default_images=50_000,
    ),
    "eqr": Family(
        f"eqr{_COUNT}",
        "eqr50k",
        "equivariance to rotation in dB",
        is_higher_better=True,
        default_images=50_000,
    ),
    "swd": Family(f"swd{_COUNT}", "swd16k", "sliced Wasserstein distance", kilo=1024),
    "msssim": Family(f"msssim{_COUNT}", "msssim20k", "MS-SSIM between pairs of samples"),
    "memory": Family(f"memory{_COUNT}", "memory256", "distance to the nearest training image"),
    "lite0_fd": Family(
        f"lite0_fd{_COUNT}{_FULL}",
        "lite0_fd5k_full",
        "Frechet distance of EfficientNet-Lite0 features; no FID",
    ),
    "lite0_kd": Family(
        f"lite0_kd{_COUNT}{_FULL}",
        "lite0_kd5k_full",
        "kernel distance of EfficientNet-Lite0 features; no KID",
    ),
}


def parse_names(text: str) -> tuple[MetricName, ...]:
    """Reads names with commas between; a name that comes twice counts once.

    Raises:
        ValueError: There is no such metric, or no name at all.
    """
    names = list(dict.fromkeys(filter(None, map(str.strip, text.split(",")))))
    if not names:
        raise ValueError(f"No metric is named: give some of {_list_examples()}.")
    return tuple(map(parse_name, names))


def parse_name(text: str) -> MetricName:
    """Reads one name.

    Raises:
        ValueError: There is no such metric, or of no images.
    """
    for family, kind in FAMILIES.items():
        found = re.fullmatch(kind.pattern, text)
        if not found:
            continue
        options = found.groupdict()
        count = options.pop("count")
        num_images = kind.default_images if count is None else _read_count(count, kind.kilo)
        if num_images == 0:
            raise ValueError(f"{text}: no images; a name such as {kind.example} says how many.")
        readable = {key: _READ[key](value) for key, value in options.items()}
        return MetricName(text, family, num_images, readable)
    raise ValueError(
        f"{text!r} is no metric: there are {_list_examples()}, each of any number of images, "
        "as 10k or 512."
    )


def _read_count(count: str, kilo: int) -> int:
    """Reads 512 or 10k."""
    return int(count.removesuffix("k")) * (kilo if count.endswith("k") else 1)


def _list_examples() -> str:
    """Lists a name of every family."""
    return ", ".join(kind.example for kind in FAMILIES.values())


# What the parts of names mean.
_READ: dict[str, Callable[[str | None], str | bool | int]] = {
    "full": bool,
    "whole": bool,
    "tf": bool,
    "space": str,
    "at": str,
    "step": str,
    "neighbours": lambda text: int(text or 3),
}
