"""What is known of a set of reals, kept on disk: their features take longer than the fakes'."""

import hashlib
import json
import zipfile
from collections.abc import Mapping

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

from stylegan_jax.files import replacing

# The entry that says what a file is of.
_KEY = "key"


class StatisticsCache:
    """Arrays by what they were computed from: data, images chosen, network, protocol.

    A file is named by a hash of that, and holds it in words: what is read is never of other data.
    """

    def __init__(self, folder: epath.PathLike):
        """Remembers a folder, local or in a bucket; it is made when something is kept."""
        self._folder = epath.Path(folder).expanduser()

    def load(self, key: Mapping[str, str | int | bool | None]) -> dict[str, np.ndarray] | None:
        """Returns what was kept; None where a process has nothing, which all must then compute.

        Raises:
            ValueError: The file is damaged, or of something else.
        """
        path = self._path(key)
        if jax.process_count() == 1:
            return self._read(path, key) if path.exists() else None
        found, error = None, None
        try:
            found = self._read(path, key) if path.exists() else None
        except ValueError as caught:
            error = caught

        # Computing is work for all of them together, and so is giving up.
        states = np.array([found is not None, error is not None])
        states = multihost_utils.process_allgather(states)  # [p, 2]
        if error is not None:
            raise error
        if states[:, 1].any():
            number = int(states[:, 1].argmax())
            raise ValueError(
                f"What process {number} has kept of the reals is damaged: it says what."
            )
        return found if states[:, 0].all() else None

    def store(
        self, key: Mapping[str, str | int | bool | None], arrays: Mapping[str, np.ndarray]
    ) -> None:
        """Keeps arrays; a file that is being written is never seen half."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **{_KEY: np.array(_spell(key)), **arrays})

    def _path(self, key: Mapping[str, str | int | bool | None]) -> epath.Path:
        """Returns where something is kept."""
        digest = hashlib.sha256(_spell(key).encode()).hexdigest()[:24]
        return self._folder / f"reals_{digest}.npz"

    def _read(
        self, path: epath.Path, key: Mapping[str, str | int | bool | None]
    ) -> dict[str, np.ndarray]:
        """Reads a file, and makes sure that it is of what it is asked for."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
                arrays = {name: data[name] for name in data.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{path}, kept statistics of reals, is damaged ({error}): delete it, and they are "
                "computed again."
            ) from error
        written = str(arrays.pop(_KEY, ""))
        if written != _spell(key):
            raise ValueError(
                f"{path} holds statistics of {written or 'something unknown'}, wanted are those of "
                f"{_spell(key)}: delete it, and they are computed again."
            )
        return arrays


def _spell(key: Mapping[str, str | int | bool | None]) -> str:
    """Returns what arrays were computed from, in words that are always the same."""
    return json.dumps(dict(key), sort_keys=True)
