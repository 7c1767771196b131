"""What is known of a published data set: where it comes from, what lies in it, how to open it."""

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping

from etils import epath

from stylegan_jax.data.archives import Archive, ArchiveError
from stylegan_jax.sizes import Size

_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """Facts of a data set.

    Attributes:
        name: What to call it in commands, and its folder when prepared.
        variants: Names of its parts, such as categories; empty where it has none.
        homepage: URL.
        license: The licence's name, and what it forbids.
        citation: BibTeX.
        fetch: Which files to fetch from which page into which folder; for errors.
        default_crop: The crop (`transforms.CROPS`) that suits a variant as squares.
        resolutions: Smallest and largest side, in pixels, at which training makes sense.
        open: `open(path, variant, size, *, allow_partial=False)` gives the archive. `variant` is
            `""` where there are none; `size` is the wanted height and width or None;
            `allow_partial` accepts a set of which images are missing. Raises `ArchiveError` with
            `fetch` in its text.
        aliases: Other names of variants.
        find_version: Returns what the images of a built-in set would be drawn from now, as
            `Archive.version` says it, or raises `ImportError`.
    """

    name: str
    variants: tuple[str, ...]
    homepage: str
    license: str
    citation: str
    fetch: str
    default_crop: Callable[[str], str]
    resolutions: tuple[int, int]
    open: Callable[..., Archive]
    aliases: Mapping[str, str] = dataclasses.field(default_factory=dict)
    find_version: Callable[[], str] = lambda: ""

    def resolve_variant(self, variant: str) -> str:
        """Returns the variant's usual name; see `resolve_variant`."""
        return resolve_variant(self.name, variant, self.variants, self.aliases)

    def choose_crop(self, variant: str, size: Size) -> str:
        """Returns the crop of a variant unless another is asked for.

        Squares are made as published ones are. Of other shapes none is published: the largest
        central part, as the subjects of all these sets are in the middle.
        """
        return self.default_crop(variant) if size[0] == size[1] else "center-crop"


def resolve_variant(
    name: str, variant: str, variants: tuple[str, ...], aliases: Mapping[str, str]
) -> str:
    """Returns the usual name of a variant.

    Args:
        name: The data set's name, for the error.
        variant: A variant or another name of it, `""` for none.
        variants: All variants.
        aliases: Other names of them.

    Raises:
        ValueError: There is no such variant, or one must be chosen.
    """
    variant = aliases.get(variant, variant)
    if variant in variants or not (variant or variants):
        return variant
    if not variants:
        raise ValueError(f"{name} has no variants, got {variant!r}: write {name}.")
    raise ValueError(f"{name} has no variant {variant!r}; choose one of {', '.join(variants)}.")


@contextlib.contextmanager
def advise(name: str, fetch: str) -> Iterator[None]:
    """Adds to an `ArchiveError` how the data set is fetched."""
    try:
        yield
    except ArchiveError as error:
        raise ArchiveError(f"{error}\nHow to get {name}: {fetch}") from error


def check_count(archive: Archive, expected: int, *, allow_partial: bool) -> None:
    """Refuses a data set of another size than published.

    Args:
        archive: What was opened.
        expected: Its number of images.
        allow_partial: Accept fewer.

    Raises:
        ArchiveError: There are more images, or fewer and `allow_partial` is off.
    """
    if len(archive) > expected:
        raise ArchiveError(
            f"{archive.name} has {len(archive)} images, but only {expected} were published: "
            "remove what is not part of it."
        )
    if len(archive) < expected and not allow_partial:
        raise ArchiveError(
            f"{archive.name} has {len(archive)} of {expected} images: fetch the others, or set "
            "allow_partial to go on without them."
        )


def check_numbers(archive: Archive, expected: int, *, allow_partial: bool) -> None:
    """Refuses a data set whose files are not numbered from 0 to `expected` - 1.

    Args:
        archive: What was opened; its names end in numbers, such as `00000/00042.png`.
        expected: Its number of images.
        allow_partial: Accept gaps.

    Raises:
        ArchiveError: There are files of other names, numbers that come twice or are missing; the
            message lists the first ones.
    """
    # Which numbers are there, and which files have none, too high a one or one that is taken.
    numbers: dict[int, str] = {}
    strangers = []
    for name in archive.names:
        match = re.fullmatch(r"(?:.*/)?\D*(\d+)\.\w+", name)
        if match is None or int(match[1]) >= expected or int(match[1]) in numbers:
            strangers.append(name)
        else:
            numbers[int(match[1])] = name
    if strangers:
        raise ArchiveError(
            f"{archive.name} has {len(strangers)} image(s) that do not belong to it or come twice: "
            f"{_shorten(strangers)}. Remove them."
        )
    missing = [number for number in range(expected) if number not in numbers]
    if missing and not allow_partial:
        raise ArchiveError(
            f"{archive.name} lacks {len(missing)} of {expected} images: "
            f"{_shorten([f'{number:05d}' for number in missing])}. Run the download again, which "
            "fetches only these, or set allow_partial to go on without them."
        )


def find_folder(path: epath.PathLike, candidates: list[str]) -> epath.Path:
    """Returns the first of some folders that exists.

    Args:
        path: The folder that the user gives.
        candidates: Folders below it, the likeliest first; `""` is the folder itself.

    Raises:
        ArchiveError: None of them exists; the message tells what does.
    """
    root = epath.Path(path).expanduser()
    if not root.exists():
        raise ArchiveError(f"There is no {root}.")
    for candidate in candidates:
        if (root / candidate).is_dir():
            return root / candidate
    # What lies there instead shows how the given folder is wrong.
    children = sorted(child.name for child in root.iterdir()) if root.is_dir() else []
    raise ArchiveError(
        f"{root} holds none of the folders {', '.join(candidates)}; "
        + (f"found {_shorten(children)}." if children else "nothing else is in it.")
    )


def _shorten(names: list[str]) -> str:
    """Lists the first few of some names."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
