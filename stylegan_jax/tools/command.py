"""What the commands share: text on any terminal, errors in a line, outputs looked at first."""

import math
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from absl import app, flags, logging
from etils import epath

from stylegan_jax.files import as_path, is_cloud
from stylegan_jax.run.numerics import pin_numerics
from stylegan_jax.run.progress import prepare_terminal

# Options or data that cannot be used.
EXIT_REFUSED = 2
# What shells take for Ctrl-C.
EXIT_INTERRUPTED = 128 + signal.SIGINT


def run(main: Callable[[list[str]], Any]) -> None:
    """Runs a command: `main(argv)` with absl's flags parsed; a terminal shows what it can."""
    prepare_terminal()
    pin_numerics()
    app.run(telling_errors(main))


def telling_errors(main: Callable[[list[str]], Any]) -> Callable[[list[str]], Any]:
    """A command that tells what is wrong with options, checkpoints and data in a line.

    Without Python's trace; it returns 2 then.
    """

    def told(argv: list[str]) -> Any:
        try:
            return main(argv)
        except (ValueError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return EXIT_REFUSED
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
            return EXIT_INTERRUPTED

    return told


def begin(argv: list[str]) -> None:
    """Refuses words that are no options, and quiets libraries.

    Raises:
        UsageError: Words stand beside the options.
    """
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments {argv[1:]}; every option is --name=value.")
    quiet_libraries()


def quiet_libraries() -> None:
    """Hides what libraries report of their every step, unless `--verbosity` asks for it."""
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)


def check_output(text: str, suffix: str | None, flag: str = "out") -> epath.Path:
    """Looks whether an output can be written, before there is anything to write.

    Args:
        text: A file, or with `suffix` None a folder; folders that are missing will be made.
        suffix: What the file's name must end in, as `.png`.
        flag: What errors call it.

    Returns:
        The path.

    Raises:
        ValueError: Another suffix, or a folder where a file is wanted, or the reverse.
        OSError: It must not be written there.
    """
    if not text or suffix is not None and not text.lower().endswith(suffix):
        wanted = "a folder" if suffix is None else f"a file that ends in {suffix}"
        raise ValueError(f"--{flag}={text}: give the name of {wanted}.")
    path = as_path(text)
    if is_cloud(text):
        return path
    path = path.expanduser()
    if suffix is not None and path.is_dir():
        raise ValueError(f"--{flag}={text} is a folder: give the name of a file in it.")

    # The nearest thing on the way that is there must be a folder where files can be made.
    there = path if suffix is None else path.parent
    while not there.exists():
        there = there.parent
    if not there.is_dir():
        raise ValueError(f"--{flag}={text}: {there} is a file, where a folder is wanted.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(f"--{flag}={text}: {there} must not be written by you.")
    return path


def parse_numbers(text: str, name: str) -> list[float]:
    """Reads `"1,0.7,-0.5"`; `name` is what errors call it.

    Raises:
        ValueError: Something else than numbers with commas between.
    """
    try:
        numbers = [float(part) for part in text.split(",")]
        if all(map(math.isfinite, numbers)):
            return numbers
        raise ValueError
    except ValueError:
        raise ValueError(
            f"{name}={text!r}: give numbers with commas between, as 1,0.7,-0.5."
        ) from None


def define_class_flag() -> None:
    """Declares `--class` with the names that it has in other repositories."""
    text = "Class of every image, a number or a name, for labelled networks."
    flags.DEFINE_string("class", None, text)
    for name in ("class_idx", "class_index"):
        flags.DEFINE_alias(name, "class")


def define_ws_flag() -> None:
    """Declares `--ws`, files of styles in place of seeds."""
    text = "An .npz of styles, as tools.project writes it, in place of seeds; may be repeated."
    flags.DEFINE_multi_string("ws", None, text)


def check_ws_flag() -> None:
    """Refuses `--ws` beside what seeds alone have.

    Raises:
        UsageError: Names it.
    """
    FLAGS = flags.FLAGS
    beside = [name for name in ("seeds", "shuffle_seed", "class") if name in FLAGS]
    if given := [name for name in beside if FLAGS.ws and FLAGS[name].present]:
        raise app.UsageError(f"--ws is given in place of --{' and --'.join(given)}: leave it out.")


def define_checkpoint_flags(*, required: bool = True) -> None:
    """Declares `--checkpoint` and `--step`, as `inference.load` takes them."""
    text = "Workdir, checkpoints folder, one step, export or official pickle; gs:// too."
    flags.DEFINE_string("checkpoint", None, text, required=required)
    flags.DEFINE_string("step", "latest", "Of a run: image count, 'latest' or 'best'.")
    text = "Of feature maps; default: as the network was trained."
    flags.DEFINE_enum("compute_dtype", None, ["float32", "bfloat16"], text)


def checkpoint_options() -> dict[str, Any]:
    """Returns what the flags of `define_checkpoint_flags` say, as arguments of `load`."""
    FLAGS = flags.FLAGS
    return {
        "path": FLAGS.checkpoint,
        "step": FLAGS.step,
        "compute_dtype": FLAGS.compute_dtype,
    }
