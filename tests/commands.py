"""Commands as pages show them: found in the text, and run within this process."""

import contextlib
import functools
import inspect
import pathlib
import re
import runpy
import shlex
import sys
import warnings

from absl import flags
from ml_collections import config_flags

ROOT = pathlib.Path(__file__).parents[1]
_OURS = ("stylegan_jax", "benchmarks", "tests")
_KINDS = ("string", "integer", "float", "bool", "enum", "list", "alias", "multi_string")


def shown_commands(path):
    """Commands `python -m MODULE ...` that a page or a docstring shows, as lists of words."""
    text = path.read_text().replace("\\\\\n", "\\\n").replace("\\\n", " ")
    # The rest of a line of code up to a comment or another command; between backquotes, all.
    found = re.findall(r"(?:^|&& |`|\d )python -m ([^`#\n]+?)(?=`|  #|$)", text, re.MULTILINE)
    found += re.findall(r"^ {4}python -m ([^`#\n]+)$", text, re.MULTILINE)
    return [[word for word in shlex.split(line) if word != "..."] for line in found]


@contextlib.contextmanager
def own_flags(monkeypatch):
    """Flags that modules declare inside belong to nobody else; yields them."""
    values = flags.FlagValues()
    for module, declared in flags.FLAGS.flags_by_module_dict().items():
        if not module.startswith(_OURS):
            for flag in declared:  # of libraries, which read them
                values[flag.name] = flag
    with monkeypatch.context() as patch:
        patch.setattr(flags, "FLAGS", values)
        for kind in _KINDS:
            define = getattr(flags, f"DEFINE_{kind}")
            patch.setattr(flags, f"DEFINE_{kind}", functools.partial(define, flag_values=values))
        define = config_flags.DEFINE_config_file
        patch.setattr(
            config_flags, "DEFINE_config_file", functools.partial(define, flag_values=values)
        )
        yield values


def load_module(name):
    """The globals of a program before its `main`."""
    with warnings.catch_warnings():
        # Other tests may have imported it; here it is a program of its own.
        warnings.filterwarnings("ignore", ".*found in sys.modules", RuntimeWarning)
        return runpy.run_module(name, run_name="shown")


def run_module(monkeypatch, words, **changes):
    """Runs `python -m WORDS` here, with some of the module's names changed.

    Returns:
        What its `main` returned.
    """
    name, *argv = words
    monkeypatch.setattr(sys, "argv", [name, *argv])
    with own_flags(monkeypatch) as values:
        module = load_module(name)
        main = module["main"]
        module.update(changes)  # the globals of its functions
        if "define_flags" in module:
            module["define_flags"]()
        if inspect.signature(main).parameters:
            return main(values(sys.argv))
        return main()
