"""Data sets by name: facts of published ones and a builder of our own, one file per family."""

from stylegan_jax.data.builders.afhq import AFHQV2
from stylegan_jax.data.builders.base import ImageBuilder
from stylegan_jax.data.builders.celebahq import CELEBAHQ
from stylegan_jax.data.builders.cifar10 import CIFAR10
from stylegan_jax.data.builders.dataset import DatasetSpec
from stylegan_jax.data.builders.ffhq import FFHQ, FFHQ_U
from stylegan_jax.data.builders.lsun import LSUN
from stylegan_jax.data.builders.openmoji import OPENMOJI

DATASET_SPECS: dict[str, DatasetSpec] = {
    spec.name: spec for spec in (FFHQ, FFHQ_U, LSUN, CELEBAHQ, AFHQV2, CIFAR10, OPENMOJI)
}

__all__ = ["DATASET_SPECS", "DatasetSpec", "ImageBuilder"]
