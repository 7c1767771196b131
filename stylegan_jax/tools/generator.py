"""What the tools draw from: `stylegan_jax.inference` under the tools' names."""

from stylegan_jax.inference.generator import NOISE_MODES, Generator, load
from stylegan_jax.inference.programs import CHUNK
from stylegan_jax.inference.seeds import check_seeds, parse_seeds

__all__ = ["CHUNK", "NOISE_MODES", "Generator", "check_seeds", "load", "parse_seeds"]
