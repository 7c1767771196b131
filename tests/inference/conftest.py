"""The tiny checkpoint that these tests draw from."""

from tests.inference.tiny import generator, make_generator, movable, noisy, workdir

__all__ = ["generator", "make_generator", "movable", "noisy", "workdir"]
