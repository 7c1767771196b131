"""The pictures of runs within a page: as they are, or smaller and fewer to keep a limit."""

import base64
import dataclasses
import io
import math
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from etils import epath
from PIL import Image
from tqdm import tqdm

from stylegan_jax.tools.report.reading import Run

# Pictures that runs and tools write, by the beginning of their names; all others are shown too.
TITLES = {
    "truncation": "Truncation",
    "style_mixing": "Style mixing",
    "mixing": "Style mixing",
    "nearest": "Samples above the nearest training images",
    "noise": "Noise",
    "stddev": "What noise changes",
    "spectra": "Spectra",
    "directions": "Directions",
    "projection": "Projection",
}
# Bounded width in pixels, and the quality of WebP, from good to small.
_SETTINGS = ((2048, 85), (1024, 80))
# So many grids of each run make a smoother film than fewer wider ones.
_ENOUGH_GRIDS = 12
# WebP holds no more.
_MOST_HEIGHT = 16000
_GRID = re.compile(r"fakes_(\d+(?:\.\d+)?)\.png")
_PNG = b"\x89PNG\r\n\x1a\n"


class Picture(NamedTuple):
    """A picture that stands in the page."""

    uri: str
    width: int
    height: int


@dataclasses.dataclass
class Album:
    """The pictures of a run: files first, then what is shown of them.

    Attributes:
        grids: Sample grids as (kimg, file), ascending.
        others: `reals`, `growth` and figures, as (name, file).
        shown_grids: As (kimg, picture).
        shown: By name.
    """

    grids: list[tuple[float, epath.Path]]
    others: list[tuple[str, epath.Path]]
    shown_grids: list[tuple[float, Picture]] = dataclasses.field(default_factory=list)
    shown: dict[str, Picture] = dataclasses.field(default_factory=dict)

    def figures(self) -> list[tuple[str, Picture]]:
        """Returns what tools have drawn, with titles."""
        names = [name for name in self.shown if name not in ("reals", "growth")]
        return [(title_of(name), self.shown[name]) for name in names]


def title_of(name: str) -> str:
    """Returns the title of a figure from the name of its file."""
    found = next((TITLES[start] for start in TITLES if name.startswith(start)), None)
    if found is None:
        return name
    return found if name in TITLES else f"{found} ({name})"


def find_pictures(run: Run, last_kimg: float = math.inf) -> Album:
    """Lists a run's pictures; none is read yet.

    Args:
        run: Of any state.
        last_kimg: Grids of later images, which the run went back behind, are left out.
    """
    folder = run.path / "samples"
    grids = [
        (float(match[1]), path)
        for path in (folder.iterdir() if folder.exists() else ())
        if (match := _GRID.fullmatch(path.name)) and float(match[1]) <= last_kimg
    ]
    others: dict[str, epath.Path] = {}
    for place in (run.path, run.path / "figures"):
        for path in sorted(place.iterdir(), key=lambda p: p.name) if place.exists() else ():
            if path.suffix.lower() == ".png" and not path.is_dir():
                name = path.stem if path.stem not in others else f"{path.stem} in {place.name}"
                others[name] = path
    return Album(sorted(grids, key=lambda grid: grid[0]), list(others.items()))


def fill(albums: Sequence[Album], budget_bytes: int) -> list[str]:
    """Reads the pictures into the albums, so that together they stay within a limit.

    As files where they fit; else as WebP of bounded width, and of the grids as many as fit, evenly
    spread over the training of each run.

    Args:
        albums: Of each run; `shown` and `shown_grids` are filled.
        budget_bytes: What all may take in the page.

    Returns:
        What was left out or made smaller, in words.
    """
    files = [path for album in albums for _, path in (*album.grids, *album.others)]
    sizes = [path.stat().length for path in files]
    notes: list[str] = []
    if sum(_encoded_bytes(size) for size in sizes) <= budget_bytes:
        for album in albums:
            album.shown_grids = list(_read_all(album.grids, notes))
            album.shown = dict(_read_all(album.others, notes))
        return notes

    megabytes = sum(sizes) / 1e6
    for width, quality in _SETTINGS:
        small = _Smaller(width, quality, notes)
        is_last = (width, quality) == _SETTINGS[-1]
        if _fill_smaller(albums, budget_bytes, small, at_all_costs=is_last):
            break
    shown = sum(len(album.shown_grids) for album in albums)
    there = sum(len(album.grids) for album in albums)
    told = f"Pictures of {megabytes:.0f} MB are shown as WebP, at most {width} pixels wide"
    told += f", and {shown} of {there} sample grids" if shown < there else ""
    if left_out := [
        name for album in albums for name, _ in album.others if name not in album.shown
    ]:
        told += f", without {', '.join(left_out)}"
    return [f"{told}, to keep this page small (--max_mb).", *dict.fromkeys(notes)]


class _Smaller:
    """Reads pictures as WebP of one width and quality, each once."""

    def __init__(self, width: int, quality: int, notes: list[str]):
        """Stores the settings; what cannot be read becomes a note."""
        self._width, self._quality, self._notes = width, quality, notes
        self._done: dict[epath.Path, Picture | None] = {}

    def __call__(self, path: epath.Path) -> Picture | None:
        """Returns a picture, or None where the file is none."""
        if path not in self._done:
            self._done[path] = self._read(path)
        return self._done[path]

    def _read(self, path: epath.Path) -> Picture | None:
        """Reads and shrinks; a picture that is small enough keeps its pixels."""
        try:
            with path.open("rb") as file, Image.open(file) as picture:
                picture.thumbnail((self._width, _MOST_HEIGHT), Image.Resampling.LANCZOS)
                whole = io.BytesIO()
                picture.convert("RGB").save(whole, "WEBP", quality=self._quality, method=2)
                return Picture(_uri(whole.getvalue(), "webp"), *picture.size)
        except (OSError, ValueError, SyntaxError) as error:
            self._notes.append(f"{path.name} is no picture that can be read: {error}")
            return None


def _fill_smaller(
    albums: Sequence[Album], budget_bytes: int, small: _Smaller, *, at_all_costs: bool
) -> bool:
    """Fills the albums with what fits; tells whether that is enough."""
    # What there is one of comes first.
    left = budget_bytes
    for album in albums:
        album.shown = {}
        for name, path in album.others:
            picture = small(path)
            if picture is not None and len(picture.uri) <= left:
                album.shown[name] = picture
                left -= len(picture.uri)

    # Grids: as many of each run as the last ones say, and fewer until they fit.
    last = [small(album.grids[-1][1]) if album.grids else None for album in albums]
    wanted = sum(len(album.grids) * len(one.uri) for album, one in zip(albums, last) if one)
    share = min(1.0, left / max(wanted, 1))
    while True:
        chosen = [_spread(album.grids, round(share * len(album.grids))) for album in albums]
        if not at_all_costs and any(
            len(some) < min(_ENOUGH_GRIDS, len(album.grids)) for some, album in zip(chosen, albums)
        ):
            return False
        # Large grids take a second each.
        with tqdm(total=sum(map(len, chosen)), desc="shrinking", disable=None) as bar:
            for album, some in zip(albums, chosen):
                album.shown_grids = []
                for kimg, path in some:
                    if (picture := small(path)) is not None:
                        album.shown_grids.append((kimg, picture))
                    bar.update()
        shown = [picture for album in albums for _, picture in album.shown_grids]
        if sum(len(picture.uri) for picture in shown) <= left:
            return True
        share *= 0.9


def _spread(
    grids: Sequence[tuple[float, epath.Path]], count: int
) -> Sequence[tuple[float, epath.Path]]:
    """Returns so many evenly spread ones, the last before all others, then the first."""
    n = len(grids)
    if count >= n:
        return grids
    if count <= 1:
        return grids[n - count :]
    return [grids[round(i * (n - 1) / (count - 1))] for i in range(count)]


def _read_all(files: Sequence[tuple], notes: list[str]) -> Iterator[tuple]:
    """Yields pictures as their files are, with what stands before each file."""
    for name, path in files:
        try:
            whole = path.read_bytes()
            with Image.open(io.BytesIO(whole)) as picture:
                size = picture.size
            if not whole.startswith(_PNG):
                raise ValueError("it is no PNG")
        except (OSError, ValueError, SyntaxError) as error:
            notes.append(f"{path.name} is no picture that can be read: {error}")
            continue
        yield name, Picture(_uri(whole, "png"), *size)


def _encoded_bytes(size: int) -> int:
    """Returns what a file takes in base64, with the words before it."""
    return -(-size // 3) * 4 + 32


def _uri(whole: bytes, kind: str) -> str:
    """Spells a file out within an address."""
    return f"data:image/{kind};base64,{base64.b64encode(whole).decode()}"
