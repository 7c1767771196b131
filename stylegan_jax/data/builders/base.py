"""The TFDS builder that every data set here is prepared by."""

import contextlib
import io
import json
import logging
import multiprocessing
import os
import pathlib
import shutil
import sys
from collections.abc import Iterator
from typing import Any

import filelock
import tensorflow_datasets as tfds
from etils import epath
from tensorflow_datasets.core import dataset_builder, splits
from tqdm import tqdm

from stylegan_jax.data.archives import Archive
from stylegan_jax.data.archives.prepared import INFO_FILE, SPLIT
from stylegan_jax.data.channels import describe_silent
from stylegan_jax.data.fingerprint import content_fingerprint
from stylegan_jax.data.label_files import write_labels
from stylegan_jax.data.preparation.records import Recipe, make_features, preparation_facts
from stylegan_jax.data.preparation.shards import UNGUARDED, write_shards

SKIPPED_FILE = "skipped.json"


class ImageBuilder(dataset_builder.FileReaderBuilder, skip_registration=True):
    """Prepares an archive as `DATA_DIR/NAME/CONFIG/1.0.0`, without TensorFlow.

    The folder appears under that name when it is complete. Until then shards gather in
    `1.0.0.unfinished` beside it, from where a killed preparation goes on; a second process that
    prepares the same waits for the first.
    """

    VERSION = tfds.core.Version("1.0.0")
    # TFDS looks beside this file for checksums of downloads, with a package that it does not
    # declare (importlib_resources, in 4.9.10). Nothing is downloaded here: spare it the search.
    code_path = None

    def __init__(
        self,
        archive: Archive,
        recipe: Recipe,
        *,
        name: str,
        config: str,
        data_dir: str | os.PathLike[str],
        homepage: str = "",
        license: str = "",
        citation: str = "",
        skip_bad: bool = False,
        num_workers: int | None = None,
    ):
        """Prepares nothing yet.

        Args:
            archive: The images.
            recipe: What is done with each, from `records.make_recipe`.
            name: TFDS's name of the data set: letters, digits, underscores and hyphens.
            config: TFDS's name of the variant, with the resolution.
            data_dir: Local folder of all prepared data sets.
            homepage: For the metadata.
            license: For the metadata.
            citation: BibTeX, for the metadata.
            skip_bad: Leave out images that cannot be used, and list them in `skipped.json`.
            num_workers: Processes; 0 works in this one. Default: one per CPU, none for few images.
        """
        # TFDS's constructor needs these. It knows a name by the class; here it is the object's.
        self.name = name  # pyright: ignore[reportAttributeAccessIssue]
        self.archive = archive
        self.recipe = recipe
        self._texts: dict[str, Any] = {
            "homepage": homepage,
            "license": license,
            "citation": citation,
        }
        self._skip_bad = skip_bad
        self._num_workers = num_workers
        with quiet_tfds():
            super().__init__(
                data_dir=pathlib.Path(data_dir).expanduser(),
                config=tfds.core.BuilderConfig(name=config),
            )
        self._work = pathlib.Path(f"{self._data_dir}.unfinished")

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Images of one size, prepared for stylegan_jax.",
            features=make_features(self.recipe, self.archive.labels),
            metadata=tfds.core.MetadataDict(preparation_facts(self.archive, self.recipe)),
            disable_shuffling=True,
            **self._texts,
        )

    def download_and_prepare(self, **kwargs: Any) -> None:
        """Writes the data set, unless it is there already.

        Args:
            **kwargs: TFDS's; the file format is always ArrayRecord.

        Raises:
            ValueError: Images cannot be used, or another data set has the name.
            OSError: The disk is full; what is done is kept.
        """
        folder = pathlib.Path(self._data_dir)
        folder.parent.mkdir(parents=True, exist_ok=True)
        # What is complete may lie where nothing can be written.
        with contextlib.nullcontext() if folder.exists() else _locked(folder):
            if folder.exists():
                self._check_same(folder)
                # A process that was killed at the very end has left its shards.
                shutil.rmtree(self._work, ignore_errors=True)
                return
            # TFDS writes into a folder of such a name, which killed processes leave.
            for left in folder.parent.glob(f"incomplete.*_{folder.name}"):
                shutil.rmtree(left)
            ours = {
                "file_format": "array_record",
                # TFDS makes this folder even where nothing is downloaded.
                "download_dir": self._work / "downloads",
            }
            with quiet_tfds():
                super().download_and_prepare(**kwargs | ours)
            shutil.rmtree(self._work, ignore_errors=True)

    def _download_and_prepare(self, dl_manager: Any, download_config: Any = None) -> None:
        """Writes what TFDS then gives its final name."""
        shards = write_shards(
            self.archive,
            self._work,
            self.recipe,
            skip_bad=self._skip_bad,
            num_workers=self._num_workers,
        )
        # Shards of which all images were left out are no files of the data set.
        filled = [(path, shard) for path, shard in shards if shard.kept]
        # Their final names tell how many there are, which is known only now.
        template = self._get_filename_template(split_name=SPLIT)
        for number, (path, _) in enumerate(filled):
            target = template.sharded_filepath(shard_index=number, num_shards=len(filled))
            _link(path, pathlib.Path(target))

        # Labels of the images that are there; names of those that are not.
        kept = [i for _, shard in filled for i in shard.kept]
        labels = self.archive.labels.take(kept)
        named = {name: more.take(kept) for name, more in self.archive.named_labels.items()}
        write_labels(self.data_path, labels, named)
        if problems := [problem for _, shard in shards for problem in shard.problems]:
            (self.data_path / SKIPPED_FILE).write_text(json.dumps(problems, indent=1))

        # Past TFDS's silence, see `quiet_tfds`.
        useful = [channels for _, shard in filled for channels in shard.useful]
        if note := describe_silent(self.recipe.channels, useful, len(kept)):
            print(f"NOTE: {note}", file=sys.stderr)
        if turned := sum(shard.num_turned for _, shard in filled):
            print(
                f"NOTE: {turned} of {len(kept)} images were noted by a camera to be turned, and "
                "are prepared as they are stored; `check` names them. Turn the files and prepare "
                "again if they lie on their side.",
                file=sys.stderr,
            )

        # What TFDS writes into its metadata, last of all.
        digests = [digest for _, shard in filled for digest in shard.digests]
        metadata = self.info.metadata
        assert metadata is not None
        metadata["fingerprint"] = content_fingerprint(digests, labels, named)
        split = tfds.core.SplitInfo(
            name=SPLIT,
            shard_lengths=[len(shard.kept) for _, shard in filled],
            num_bytes=sum(shard.num_bytes for _, shard in filled),
            filename_template=template,
        )
        self.info.set_splits(splits.SplitDict([split]))

    def _check_same(self, folder: pathlib.Path) -> None:
        """Refuses to take a folder for what it is not.

        Raises:
            ValueError: Says what is there and what was wanted.
        """
        try:
            found = json.loads((folder / "metadata.json").read_text())
        except (OSError, ValueError, RecursionError):
            found = {}
        found = found if isinstance(found, dict) else {}
        # To JSON and back, where tuples become lists as in the file.
        wanted = json.loads(json.dumps(preparation_facts(self.archive, self.recipe)))
        # One hash stands for all images and labels; other facts are named.
        changed = [
            "other images or labels"
            if key == "source_identity"
            else f"{key}: {found.get(key)!r} there, {value!r} wanted"
            for key, value in wanted.items()
            if found.get(key) != value
        ]
        if changed:
            raise ValueError(
                f"{folder} exists and holds something else ({'; '.join(changed)}). Give another "
                "name, or remove that folder."
            )


def copy_to_bucket(local: pathlib.Path, folder: epath.Path) -> None:
    """Copies a prepared data set, its metadata last: without them it does not count as one.

    Running it again copies what is missing.
    """
    files = sorted(local.iterdir(), key=lambda path: (path.name == INFO_FILE, path.name))
    # A file of another size was cut off by a kill.
    for path in tqdm(files, desc=f"copying to {folder}", unit=" files", delay=2):
        target = folder / path.name
        if not target.exists() or target.stat().length != path.stat().st_size:
            epath.Path(path).copy(target, overwrite=True)


@contextlib.contextmanager
def _locked(folder: pathlib.Path) -> Iterator[None]:
    """Holds a lock, which the system drops when the process dies, and says when it has to wait."""
    lock = filelock.FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        # As multiprocessing does: a worker that runs the script anew would wait for its parent.
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            raise RuntimeError(UNGUARDED) from None
        print(f"another process prepares {folder}; waiting for it", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _link(path: pathlib.Path, target: pathlib.Path) -> None:
    """Gives a file a second name, so that a kill on the way loses nothing."""
    try:
        os.link(path, target)
    except OSError:  # file systems without links
        shutil.copy(path, target)


@contextlib.contextmanager
def quiet_tfds() -> Iterator[None]:
    """Keeps TFDS's announcements and progress bars, but no error, off the terminal."""
    # TFDS speaks through three channels: a logger, tqdm and print.
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
