"""Published weights of frozen networks: files, where to get them, and name maps."""

from stylegan_jax.convert.pretrained.loading import (
    Pretrained,
    describe_weights,
    has_weights,
    load_pretrained,
)

__all__ = ["Pretrained", "describe_weights", "has_weights", "load_pretrained"]
