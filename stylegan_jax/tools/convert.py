"""Shows what a checkpoint holds, and writes it in another format.

    python -m stylegan_jax.tools.convert runs/quickstart quickstart.safetensors

SRC is a workdir, a step of it, an export, or a file of another project: an official pickle, `.pt`,
`.pth` or `.safetensors`. DST is a `.safetensors`: with `--to=export`, the default, an export of
this package; with `--to=official` the names and layouts of the original in PyTorch. Pickles are
never written. Without DST nothing is written.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from absl import app, flags
from etils import epath
from flax import traverse_util

from stylegan_jax.convert.export import write_export, write_official
from stylegan_jax.convert.networks import NETWORKS, LoadedCheckpoint, LoadedNetwork
from stylegan_jax.convert.official import foreign_notes, to_official
from stylegan_jax.run.networks import load_networks
from stylegan_jax.sizes import describe_pixels
from stylegan_jax.tools import command

_SUFFIX = ".safetensors"
# Read, and not written: whoever opens one runs what is in it.
_PICKLED = (".pkl", ".pt", ".pth")
_WRITERS: dict[str, Callable[[epath.Path, LoadedCheckpoint], None]] = {
    "export": write_export,
    "official": write_official,
}
# What a line says of a network already.
_SHOWN = ("img_resolution", "img_channels", "c_dim", "base_grid")


def describe(checkpoint: LoadedCheckpoint) -> str:
    """Returns what a user wants to know of a checkpoint, a line for each network and note."""
    lines = []
    for net, network in checkpoint.networks.items():
        kwargs = network.kwargs
        count = sum(x.size for x in jax.tree.leaves(network.params))
        lines.append(
            f"{net}: {network.name}, {describe_pixels(network.size)}, {kwargs['img_channels']} "
            f"channel(s), {kwargs['c_dim']} label(s), {count:,} parameters"
        )
        told = [f"{name}={value}" for name, value in kwargs.items() if name not in _SHOWN]
        lines.append(f"    {' '.join(told)}")
    if checkpoint.kimg is not None:
        lines.append(f"trained on {checkpoint.kimg:g} kimg")
    if checkpoint.resolution is not None or checkpoint.fade is not None:
        lines.append("still growing: images are those of the level that it has come to")
    if checkpoint.class_names:
        lines.append(f"classes: {', '.join(checkpoint.class_names)}")
    if checkpoint.augment_p is not None:
        lines.append(f"augmented with p={checkpoint.augment_p:g}")
    return "\n".join([*lines, *(f"NOTE: {note}" for note in checkpoint.notes)])


def tabulate(checkpoint: LoadedCheckpoint, to: str) -> str:
    """Returns a line for each tensor: name, shape, mean and standard deviation.

    Args:
        checkpoint: What was read.
        to: Under whose names, `export` or `official`.
    """
    rows = [("tensor", "shape", "mean", "std")]
    for net, network in checkpoint.networks.items():
        for name, array in _named(network, to).items():
            shape = "x".join(map(str, array.shape)) or "1"
            rows.append((f"{net} {name}", shape, f"{array.mean():.4g}", f"{array.std():.4g}"))
    # Names to the left, numbers to the right.
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join(
        f"{row[0]:<{widths[0]}}  "
        + "  ".join(f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:]))
        for row in rows
    )


def _named(network: LoadedNetwork, to: str) -> dict[str, np.ndarray]:
    """Returns a network's tensors by name."""
    if to == "official":
        return to_official(network)
    flat: dict[str, Any] = {}
    for tree in (network.params, network.buffers):
        flat |= traverse_util.flatten_dict(tree, sep="/")
    return flat


def check_target(text: str, *, overwrite: bool) -> epath.Path:
    """Looks whether the file can be written, before anything is read.

    Raises:
        ValueError: Another suffix, which for pickles says what to write instead, or there is such
            a file already.
        OSError: It must not be written there.
    """
    if text.lower().endswith(_PICKLED):
        stem = text.rpartition(".")[0]
        raise ValueError(
            f"{text}: pickles are read, and never written: opening one runs what is in it. Give "
            f"{stem}{_SUFFIX} and --to=official: the tensors under the original's names, which "
            "PyTorch loads: net.load_state_dict(safetensors.torch.load_file(DST))."
        )
    path = command.check_output(text, _SUFFIX, "DST")
    if path.exists() and not overwrite:
        raise ValueError(f"{path} exists: give another name, or --overwrite to replace it.")
    return path


def define_flags() -> None:
    """Declares the options."""
    flags.DEFINE_enum("to", "export", list(_WRITERS), "Format that is written.")
    flags.DEFINE_list("networks", list(NETWORKS), "Which of them.")
    flags.DEFINE_string("step", "latest", "Of a workdir: image count, 'latest' or 'best'.")
    flags.DEFINE_bool("table", False, "Print a line for each tensor.")
    flags.DEFINE_bool("overwrite", False, "Replace a file that is there.")


def main(argv: list[str]) -> None:
    """Reads the flags, shows what SRC is, and writes DST."""
    FLAGS = flags.FLAGS
    if not 2 <= len(argv) <= 3:
        raise app.UsageError("Give SRC, or SRC and DST.")
    command.quiet_libraries()
    # What cannot be asked for or written is refused before anything is read.
    unknown = set(FLAGS.networks) - set(NETWORKS)
    if unknown or not FLAGS.networks:
        raise ValueError(f"--networks={','.join(FLAGS.networks)}: choose {', '.join(NETWORKS)}.")
    target = check_target(argv[2], overwrite=FLAGS.overwrite) if len(argv) == 3 else None

    # What there is, as far as it was asked for.
    step = int(FLAGS.step) if FLAGS.step.isdigit() else FLAGS.step
    checkpoint = load_networks(argv[1], step=step, networks=FLAGS.networks)
    print(f"{argv[1]}:\n{describe(checkpoint)}")
    if missing := [net for net in FLAGS.networks if net not in checkpoint.networks]:
        print(f"not there: {', '.join(missing)}")
    if target is not None:
        _WRITERS[FLAGS.to](target, checkpoint)
    if FLAGS.table:
        print(tabulate(checkpoint, FLAGS.to))
    if target is None:
        return
    if FLAGS.to == "official":
        for net, network in checkpoint.networks.items():
            for note in foreign_notes(network):
                print(f"NOTE: {net}: {note}")
    print(f"{target}: {target.stat().length / 1e6:.1f} MB, {', '.join(checkpoint.networks)}")


if __name__ == "__main__":
    define_flags()
    command.run(main)
