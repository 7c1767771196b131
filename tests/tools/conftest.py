"""The tiny checkpoint that the tests of inference have, too."""

from tests.inference.tiny import generator, make_generator, movable, noisy, workdir

__all__ = ["generator", "make_generator", "movable", "noisy", "workdir"]
