"""What the commands share: text on any terminal, errors in a line, outputs looked at first."""

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


def define_class_flag() -> None:
    """Declares `--class` with the names that it has in other repositories."""
    text = "Class of every image, a number or a name, for labelled networks."
    flags.DEFINE_string("class", None, text)
    for name in ("class_idx", "class_index"):
        flags.DEFINE_alias(name, "class")


def define_checkpoint_flags() -> None:
    """Declares `--checkpoint` and `--step`, as `inference.load` takes them."""
    text = "Workdir, checkpoints folder, one step, export or official pickle; gs:// too."
    flags.DEFINE_string("checkpoint", None, text, required=True)
    flags.DEFINE_string("step", "latest", "Of a run: image count, 'latest' or 'best'.")
