"""The tiny checkpoint of the tests of inference."""

from tests.inference.tiny import make_generator, noisy, workdir

__all__ = ["make_generator", "noisy", "workdir"]
