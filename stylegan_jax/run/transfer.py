"""A new run that begins with the networks of another one: `config.init_from`."""

import dataclasses
import functools
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, get_args

import jax
import numpy as np
from etils import epath
from jax.sharding import Mesh
from ml_collections import ConfigDict

from stylegan_jax.convert.transfer import Kind, Match, fit_params, match_params
from stylegan_jax.files import replacing
from stylegan_jax.run.input import saved_shape
from stylegan_jax.run.restore import restore_subtree
from stylegan_jax.sizes import ImageShape, name_size
from stylegan_jax.training.sharding import put_everywhere, shardings
from stylegan_jax.training.state import TrainState

# The table of what was taken, in the workdir.
TABLE_FILE = "init_from.json"

# Networks of a checkpoint, and those of the state that begin with them: each with its own copy, as
# the official repositories have it. Adam, path lengths and the image counter begin anew.
_COPIES = ("G", "D", "G_ema")


class Origin:
    """The networks that a new run begins with."""

    def __init__(self, config: ConfigDict, shape: ImageShape):
        """Reads the checkpoint that `config.init_from` names.

        Args:
            config: Of the new run.
            shape: Of its images and labels.

        Raises:
            FileNotFoundError: There is no such checkpoint.
            ValueError: Its generator is of another family.
        """
        self.path: str = config.init_from
        trees, meta = restore_subtree(self.path, [*_COPIES, "stats"])
        there = ConfigDict(meta["config"])
        if there.G.name != config.G.name:
            raise ValueError(
                f"init_from={self.path}: its generator is a {there.G.name}, that of this run a "
                f"{config.G.name}: take a recipe of the same family."
            )
        self._trees = jax.tree.map(np.asarray, trees)
        if there.D.name != config.D.name:
            # Another discriminator has nothing in common but names.
            self._trees["D"] = {}
        found = saved_shape(meta["data"])
        self._grids = (found.base_grid, shape.base_grid)
        self._what = (
            f"{there.G.name} of {name_size(found.size)} px, {found.channels} channel(s), "
            f"{found.c_dim} label(s), at {meta['nimg'] / 1000:g} kimg"
        )
        self.record: dict[str, Any] = {"path": self.path, "nimg": meta["nimg"]}

    def fit(self, state: TrainState, mesh: Mesh) -> TrainState:
        """Puts the networks in the place of a new state's own, and notes what became of each array.

        Args:
            state: Before the first image, as it lies on the devices.
            mesh: The devices.
        """
        found = {copy: self._trees[copy] for copy in _COPIES}
        matches: dict[str, list[Match]] = {}
        for copy in _COPIES:
            wanted = getattr(state, copy)
            matches[copy], left_out = match_params(found[copy], wanted, grids=self._grids)
            self.record[copy] = {
                "arrays": {m.path: [m.kind, m.reason] for m in matches[copy]},
                "left_out": left_out,
            }

        # The mean style goes with the styles; where those have another length, it begins anew.
        mean = self._trees["stats"]["w_avg"]
        keeps_mean = mean.shape == state.stats["w_avg"].shape

        @functools.partial(jax.jit, donate_argnums=0, out_shardings=shardings(state))
        def replace(state: TrainState, found: Mapping[str, Any], mean: jax.Array) -> TrainState:
            fitted = {
                copy: fit_params(matches[copy], found[copy], getattr(state, copy))
                for copy in _COPIES
            }
            stats = state.stats | {"w_avg": mean} if keeps_mean else state.stats
            return dataclasses.replace(state, stats=stats, **fitted)

        everywhere = jax.tree.map(functools.partial(put_everywhere, mesh), (found, mean))
        return replace(state, *everywhere)

    def describe(self) -> str:
        """Says in a few lines what the run begins with."""
        lines = [f"init_from: {self.path}: {self._what}"]
        for copy in _COPIES:
            table = self.record[copy]
            counts = Counter(kind for kind, _ in table["arrays"].values())
            words = [f"{counts[kind]} {kind}" for kind in get_args(Kind) if counts[kind]]
            if table["left_out"]:
                words.append(f"{len(table['left_out'])} left out")
            lines.append(f"  {copy}: {', '.join(words)}")
        return "\n".join(lines)

    def table(self) -> str:
        """Returns a line for each array."""
        lines = []
        for copy in _COPIES:
            for path, (kind, reason) in self.record[copy]["arrays"].items():
                lines.append(f"{copy}/{path}: {kind}{': ' * bool(reason)}{reason}")
            lines += [f"{copy}/{path}: left out" for path in self.record[copy]["left_out"]]
        return "\n".join(lines)

    def write(self, workdir: epath.Path) -> None:
        """Notes in the workdir where its first weights came from."""
        with replacing(workdir / TABLE_FILE) as file:
            file.write_text(json.dumps(self.record, indent=2))
