"""Data sets by name or path: opening them for training, and preparing them."""

import hashlib
import os
import pathlib
import re
import shutil
import sys
from collections.abc import Iterable

from etils import epath

from stylegan_jax.data.archives import (
    Archive,
    PreparedArchive,
    SubsetArchive,
    choose_part,
    draw_subset,
    is_prepared,
    open_archive,
)
from stylegan_jax.data.builders import DATASET_SPECS, DatasetSpec, ImageBuilder
from stylegan_jax.data.builders.base import copy_to_bucket
from stylegan_jax.data.preparation.records import make_recipe
from stylegan_jax.data.preparation.transforms import Transform
from stylegan_jax.data.sources import PREPARE, ImageSource, check_size
from stylegan_jax.files import as_path, is_cloud
from stylegan_jax.sizes import Size, name_size

DATA_DIR = "~/.cache/stylegan_jax/data"

# The folder that TFDS gives a version of a data set.
_VERSION = str(ImageBuilder.VERSION)
# These are made on first use: all that they need comes with pip.
_BUILT_IN = ("openmoji",)
_SHOWN_SIZE = (64, 64)


def open_source(
    dataset: str,
    *,
    size: Size,
    labels: bool | str = False,
    channels: int = 0,
    subset: int = 0,
    seed: int = 0,
    data_dir: epath.PathLike = DATA_DIR,
) -> ImageSource:
    """Opens a data set for training, and checks that it is what is wanted.

    Args:
        dataset: The name of a data set that was prepared, such as `ffhq` or `lsun/church`;
            `openmoji/portraits`, `openmoji/flags` or `openmoji/all`, which are prepared when they
            are first asked for; the part of a data set that its labels `split` name, such as
            `openmoji/portraits/seen`; or the path, local or in a bucket, of a folder that was
            prepared or of any layout that `archives.open_archive` knows. A name wins over a folder
            of that name; `./` in front means the folder.
        size: Height and width in pixels.
        labels: Use the data set's labels, or those of a name, such as `role` of the portraits.
        channels: 1 to 3: drop the channels that say nothing; 0: as stored.
        subset: Number of images to draw from the data set; 0 for all.
        seed: Fixes which, 0 to 2**32 - 1.
        data_dir: Folder of prepared data sets, local or in a bucket.

    Returns:
        The source.

    Raises:
        ImportError: A package that the data set is made from is missing.
        ValueError: There is no such data set, its images or labels do not fit, or networks do not
            make images of that size.
    """
    check_size(size)
    # The subset is drawn first: images outside it need not fit.
    archive = _open_by_name_or_path(dataset, size, as_path(data_dir).expanduser())
    if subset:
        archive = draw_subset(archive, subset, seed=seed)
    source = ImageSource(archive, size=size, labels=labels, channels=channels)
    _tell(source.name, source.notes)
    return source


def tell_what_is_left_out(archive: Archive) -> None:
    """Goes on without labels that do not fit, and says on stderr what else should be known."""
    _tell(archive.name, [*archive.notes, *archive.leave_out_unfit_labels()])


def _tell(name: str, notes: Iterable[str]) -> None:
    """Prints notes about a data set."""
    for note in notes:
        print(f"NOTE: {name}: {note}", file=sys.stderr)


def open_images(source: str, *, size: Size | None = None) -> Archive:
    """Opens a data set to look at it, not to train on it.

    Args:
        source: The path of any layout that `archives.open_archive` knows, or the name of a built-in
            data set, such as `openmoji/portraits`.
        size: Height and width in pixels that are wanted, see `open_archive`; built-in images are
            drawn at them, or at 64x64.

    Raises:
        ValueError: There is nothing of that name, or nothing known.
    """
    name, _, variant = source.partition("/")
    if name not in _BUILT_IN or as_path(source).expanduser().exists():
        return open_archive(source, size=size)
    variant, _, part = variant.partition("/")
    spec = DATASET_SPECS[name]
    archive = spec.open(None, spec.resolve_variant(variant), size or _SHOWN_SIZE)
    archive.name = source
    return choose_part(archive, part) if part else archive


def _open_by_name_or_path(dataset: str, size: Size, data_dir: epath.Path) -> Archive:
    """Opens all of a data set."""
    if not dataset:
        raise ValueError(f"data.dataset is empty: give a name or a path. {_list_names()}")
    name, _, variant = dataset.partition("/")
    variant, _, part = variant.partition("/")
    spec = DATASET_SPECS.get(name)
    if spec is not None:
        variant = spec.resolve_variant(variant)

    # What was prepared under this name, or is prepared without a source.
    is_name = re.fullmatch(r"[\w-]+(/[\w-]+){0,2}", dataset) is not None
    if is_name:
        folder = prepared_folder(data_dir, name, variant, size)
        if name in _BUILT_IN and not is_prepared(folder):
            prepare(name, variant=variant, size=size, data_dir=data_dir)
        if is_prepared(folder):
            archive = PreparedArchive(folder, name=dataset)
            if name in _BUILT_IN:
                _compare_versions(archive, DATASET_SPECS[name], folder)
            return choose_part(archive, part) if part else archive

    # A path. A published name means that data set, even where a folder is called the same.
    path = as_path(dataset).expanduser()
    if path.exists() and (spec is None or dataset.startswith(".")):
        return open_archive(path, size=size)

    # Neither: say what to do.
    if spec is not None:
        raise ValueError(_how_to_prepare(spec, dataset, size, data_dir))
    raise ValueError(f"There is no data set {dataset!r}, nor a folder or file. {_list_names()}")


def _compare_versions(archive: Archive, spec: DatasetSpec, folder: epath.Path) -> None:
    """Says where a built-in set was drawn from other drawings than those that are installed.

    It stays as it is: runs that began with it go on with it.
    """
    try:
        installed = spec.find_version()
    except ImportError:
        return  # what is prepared needs no package
    made_from = archive.version or "an unknown version"
    if made_from != installed:
        print(
            f"NOTE: {archive.name} was drawn from {made_from}; installed are {installed}. "
            f"To draw it anew, remove {folder}; runs that began with it then need it back.",
            file=sys.stderr,
        )


def prepared_folder(data_dir: epath.PathLike, name: str, variant: str, size: Size) -> epath.Path:
    """Returns where a prepared data set lies."""
    # TFDS's layout: name, config, version.
    config = f"{variant}_{name_size(size)}" if variant else name_size(size)
    return as_path(data_dir).expanduser() / name / config / _VERSION


def prepare(
    name: str,
    source: epath.PathLike | None = None,
    *,
    size: Size,
    variant: str = "",
    crop: str | None = None,
    filter: str = "lanczos",
    channels: int | None = None,
    bits: int | None = None,
    encoding: str = "source",
    max_images: int = 0,
    allow_partial: bool = False,
    skip_bad: bool = False,
    num_workers: int | None = None,
    data_dir: epath.PathLike = DATA_DIR,
) -> epath.Path:
    """Prepares a data set for training; running it again continues, or finds it done.

    Args:
        name: A published data set (`DATASET_SPECS`), or a new name for images of your own.
        source: Folder or file that it is made from.
        size: Height and width in pixels.
        variant: Part of a published data set, such as LSUN's `church`.
        crop: One of `transforms.CROPS`. Default: `DatasetSpec.choose_crop`; `none` for your own.
        filter: How images are resized, a key of `transforms.FILTERS`.
        channels: 1 to 16. Default: those of the first image.
        bits: 8 or 16 per channel. Default: those of the first image.
        encoding: One of `records.STORED_AS`.
        max_images: Take only the first ones; 0 for all.
        allow_partial: Accept a published data set of which images are missing.
        skip_bad: Leave out images that cannot be used, and list them in `skipped.json`.
        num_workers: Processes; 0 works in this one. Default: one per CPU, none for few images.
        data_dir: Folder of prepared data sets, local or in a bucket. For a bucket the data set is
            prepared on the local disk and copied.

    Returns:
        The folder with the records.

    Raises:
        ImportError: A package that the data set is made from is missing.
        ValueError: The source is not what it should be, images cannot be used (the message lists
            them), or another data set has the name.
        OSError: The disk is full; what is done is kept.
    """
    # What is wanted, and whether it is there.
    spec = DATASET_SPECS.get(name)
    _check_names(name, variant)
    if max_images < 0:
        raise ValueError(f"max_images={max_images}: give 1 or more, or 0 for all.")
    check_size(size)
    variant = spec.resolve_variant(variant) if spec else variant
    if source is None and name not in _BUILT_IN:
        fetch = f" For {name}: {spec.fetch}" if spec else ""
        raise ValueError(f"Say what to prepare {name} from: the path of its source.{fetch}")
    folder = prepared_folder(data_dir, name, variant, size)
    if is_prepared(folder) and source is None:
        return folder

    # The images, and what is done with each.
    source = source and as_path(source).expanduser()
    archive = _open_for(spec, source, variant, size, allow_partial)
    if max_images and max_images < len(archive):
        archive = SubsetArchive(archive, range(max_images))
    tell_what_is_left_out(archive)
    # Published sets have a usual crop; of others nothing is cut off unasked.
    if crop is None:
        crop = spec.choose_crop(variant, size) if spec else "none"
    transform = Transform(size, crop, filter)
    recipe = make_recipe(archive, transform, channels=channels, bits=bits, encoding=encoding)

    # Records are written to a local disk, from where a bucket gets them as wholes.
    is_remote = is_cloud(folder)
    local = pathlib.Path("~/.cache/stylegan_jax/upload").expanduser() / _digest(folder)
    builder = ImageBuilder(
        archive,
        recipe,
        name=name,
        config=folder.parent.name,
        data_dir=local if is_remote else data_dir,
        homepage=spec.homepage if spec else "",
        license=spec.license if spec else "",
        citation=spec.citation if spec else "",
        skip_bad=skip_bad,
        num_workers=num_workers,
    )
    builder.download_and_prepare()
    if is_remote:
        copy_to_bucket(pathlib.Path(builder.data_dir), folder)
        shutil.rmtree(local)
    return folder


def _check_names(name: str, variant: str) -> None:
    """Refuses names that are no names of folders."""
    for key, value in {"name": name, "variant": variant or "-"}.items():
        if not re.fullmatch(r"[\w-]+", value):
            raise ValueError(f"{key}={value!r}: give letters, digits, underscores and hyphens.")


def _open_for(
    spec: DatasetSpec | None,
    source: epath.PathLike | None,
    variant: str,
    size: Size,
    allow_partial: bool,
) -> Archive:
    """Opens what a data set is prepared from."""
    if spec is None:
        assert source is not None
        return open_archive(source, size=size)
    return spec.open(source, variant, size, allow_partial=allow_partial)


def _how_to_prepare(spec: DatasetSpec, dataset: str, size: Size, data_dir: epath.Path) -> str:
    """Says how to prepare a published data set."""
    variant = dataset.partition("/")[2].partition("/")[0]
    flag = f" --variant={variant}" if variant else ""
    return (
        f"{dataset} at {name_size(size)} px is not prepared in {data_dir}. First, {spec.fetch} "
        "Then run\n"
        f"  {PREPARE} --name={spec.name}{flag} --resolution={name_size(size)} --source=FOLDER\n"
        f"Licence: {spec.license}"
    )


def _list_names() -> str:
    """Lists the names that there are."""
    names = [name for name in DATASET_SPECS if name not in _BUILT_IN]
    return (
        "Names: openmoji/portraits, openmoji/flags, openmoji/all (built in), "
        f"{', '.join(names)} and your own (`{PREPARE}`)."
    )


def _digest(folder: epath.Path) -> str:
    """Makes a short name for a path."""
    return hashlib.sha256(os.fspath(folder).encode()).hexdigest()[:16]
