"""A new run that begins with trained networks: `config.init_from`."""

import dataclasses
import functools
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, get_args

import jax
from etils import epath
from jax.sharding import Mesh
from ml_collections import ConfigDict

from stylegan_jax.convert.transfer import Kind, Match, fit_params, match_params
from stylegan_jax.files import replacing
from stylegan_jax.run.networks import load_networks
from stylegan_jax.sizes import ImageShape, name_size
from stylegan_jax.training.build import network_arguments
from stylegan_jax.training.sharding import put_everywhere, shardings
from stylegan_jax.training.state import TrainState

# The table of what was taken, in the workdir.
TABLE_FILE = "init_from.json"

# Networks of the state, and those of a checkpoint that they begin with, the first that is there:
# each with its own copy, as the official repositories have it. Adam, path lengths and the image
# counter begin anew.
_SOURCES = {"G": ("G", "G_ema"), "D": ("D",), "G_ema": ("G_ema", "G")}
# Arguments that give the same weights another meaning.
_MEANINGS = (
    "z_dim",
    "w_dim",
    "input",
    "use_noise",
    "mapping_layers",
    "architecture",
    "act",
    "mapping_act",
    "mapping_lr_multiplier",
    "resample_filter",
    "blur_filter",
    "conv_clamp",
    "num_layers",
    "num_critical",
    "first_cutoff",
    "first_stopband",
    "last_stopband_rel",
    "filter_size",
    "lrelu_upsampling",
    "conv_kernel",
    "use_radial_filters",
    "output_scale",
)


class StartingNetworks:
    """The networks that a new run begins with."""

    def __init__(self, config: ConfigDict, shape: ImageShape):
        """Reads what `config.init_from` names: any kind of checkpoint (`load_networks`).

        Args:
            config: Of the new run.
            shape: Of its images and labels.

        Raises:
            FileNotFoundError: There is no such checkpoint.
            ValueError: It cannot be read, has no generator, or one of another family.
        """
        self.path: str = config.init_from
        found = load_networks(self.path)
        sources = {
            copy: next((net for net in nets if net in found.networks), None)
            for copy, nets in _SOURCES.items()
        }
        if sources["G"] is None:
            raise ValueError(
                f"init_from={self.path}: it has no generator; give a file with G or G_ema."
            )
        generator = found.networks[sources["G"]]
        if generator.name != config.G.name:
            raise ValueError(
                f"init_from={self.path}: its generator is a {generator.name}, that of this run a "
                f"{config.G.name}: take a recipe of the same family."
            )
        notes = list(found.notes)
        if sources["D"] is None:
            notes.append("It has no discriminator: that of the run is new.")
        # Another discriminator has nothing in common but names.
        elif found.networks["D"].name != config.D.name:
            sources["D"] = None
            notes.append(
                f"Its discriminator is a {found.networks['D'].name}, that of this run a "
                f"{config.D.name}: it is new."
            )
        self._found = {copy: found.networks[net] if net else None for copy, net in sources.items()}
        self._grids = (generator.base_grid, shape.base_grid)
        kimg = "an unknown number of" if found.kimg is None else f"{found.kimg:g}"
        self._what = (
            f"{generator.name} of {name_size(generator.size)} px, "
            f"{generator.kwargs['img_channels']} channel(s), {generator.kwargs['c_dim']} label(s), "
            f"at {kimg} kimg"
        )
        self._notes = [*notes, *self._describe_settings(config, shape)]
        self.record: dict[str, Any] = {
            "path": self.path,
            "first_from": found.origin,
            "nimg": found.nimg,
            "sources": sources,
            "notes": self._notes,
        }

    def _describe_settings(self, config: ConfigDict, shape: ImageShape) -> list[str]:
        """Says where the networks of the run read the same weights in another way."""
        notes = []
        for net in ("G", "D"):
            network = self._found[net]
            there = network.kwargs if network else {}
            here = network_arguments(config, shape, net)[1]
            notes += [
                f"{net}.{name}: {there[name]} there, {here[name]} here."
                for name in _MEANINGS
                if name in there and name in here and there[name] != here[name]
            ]
        return notes

    def fit(self, state: TrainState, mesh: Mesh) -> TrainState:
        """Puts the networks in the place of a new state's own, and notes what became of each array.

        Args:
            state: Before the first image, as it lies on the devices.
            mesh: The devices.
        """
        found = {copy: net.params if net else {} for copy, net in self._found.items()}
        matches: dict[str, list[Match]] = {}
        for copy in _SOURCES:
            wanted = getattr(state, copy)
            matches[copy], left_out = match_params(found[copy], wanted, grids=self._grids)
            self.record[copy] = {
                "arrays": {m.path: [m.kind, m.reason] for m in matches[copy]},
                "left_out": left_out,
            }

        # The mean style goes with the styles; where those have another length, it begins anew.
        average = self._found["G_ema"]
        mean = average.buffers.get("w_avg") if average else None
        keeps_mean = mean is not None and mean.shape == state.stats["w_avg"].shape
        # So do the averages in G with its layers.
        moving = average.buffers.get("moving", {}) if average else {}
        moved, _ = match_params(moving, state.stats["G"], grids=self._grids)

        @functools.partial(jax.jit, donate_argnums=0, out_shardings=shardings(state))
        def replace(
            state: TrainState, found: Mapping[str, Any], mean: Any, moving: Mapping[str, Any]
        ) -> TrainState:
            fitted = {
                copy: fit_params(matches[copy], found[copy], getattr(state, copy))
                for copy in _SOURCES
            }
            stats = state.stats | {"G": fit_params(moved, moving, state.stats["G"])}
            stats |= {"w_avg": mean} if keeps_mean else {}
            return dataclasses.replace(state, stats=stats, **fitted)

        everywhere = jax.tree.map(functools.partial(put_everywhere, mesh), (found, mean, moving))
        return replace(state, *everywhere)

    def describe(self) -> str:
        """Says in a few lines what the run begins with."""
        lines = [f"init_from: {self.path}: {self._what}"]
        for copy in _SOURCES:
            table = self.record[copy]
            counts = Counter(kind for kind, _ in table["arrays"].values())
            words = [f"{counts[kind]} {kind}" for kind in get_args(Kind) if counts[kind]]
            if table["left_out"]:
                words.append(f"{len(table['left_out'])} left out")
            source = self.record["sources"][copy]
            taken = f", from {source}" if source not in (copy, None) else ""
            lines.append(f"  {copy}{taken}: {', '.join(words)}")
        return "\n".join([*lines, *(f"  NOTE: {note}" for note in self._notes)])

    def table(self) -> str:
        """Returns a line for each array."""
        lines = []
        for copy in _SOURCES:
            for path, (kind, reason) in self.record[copy]["arrays"].items():
                lines.append(f"{copy}/{path}: {kind}{': ' * bool(reason)}{reason}")
            lines += [f"{copy}/{path}: left out" for path in self.record[copy]["left_out"]]
        return "\n".join(lines)

    def write(self, workdir: epath.Path) -> None:
        """Notes in the workdir where its first weights came from."""
        with replacing(workdir / TABLE_FILE) as file:
            file.write_text(json.dumps(self.record, indent=2))
