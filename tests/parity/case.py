"""One stored case: its arrays, what it was made with, and the comparison with what we compute."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stylegan_jax.convert import stylegan2
from stylegan_jax.training.setup import Hyperparameters

Convert = Callable[[dict[str, np.ndarray]], tuple[dict[str, Any], dict[str, Any]]]

KINDS = (
    "ops_upfirdn2d",
    "ops_filter_up_down2d",
    "ops_setup_filter",
    "ops_bias_act",
    "ops_conv2d_resample",
    "ops_modulated_conv2d_sg2",
    "ops_modulated_conv2d_sg3",
    "ops_filtered_lrelu",
    "ops_minibatch_stddev",
    "ops_fir_design",
    "sg2_G",
    "sg2_D",
    "sg3_G",
    "sg3_schedule",
    "sg1_ops",
    "sg1_G",
    "sg1_D",
    "sg1_losses",
    "pggan_G",
    "pggan_D",
    "pggan_losses",
    "sgt_G",
    "sgt_D",
    "sgt_head",
    "sgt_diffaug_loss",
    "proj_diffaug",
    "ada_single",
    "ada_combo",
    "ada_stochastic",
    "ada_controller",
    "inception_fid",
    "feat_resize_rules",
    "feat_torchscript",
    "feat_vgg16_lpips",
    "feat_attrcls",
    "feat_efflite0_real",
    "feat_efflite0",
    "feat_dino_tiny",
    "feat_dino_vits16",
    "feat_clip_tiny",
    "feat_clip_vit",
    "feat_clip_tokenizer",
    "metric_fid",
    "metric_kid",
    "metric_is",
    "metric_pr",
    "metric_ppl",
    "metric_separability",
    "metric_eq_operators",
    "metric_eq_T",
    "metric_eq_R",
    "feat_frechet",
    "loss_",
    "train_",
)


def kind_of(entry: dict[str, Any]) -> str:
    """The kind of an index entry: what its file name begins with, and the network it trains."""
    name = entry["file"]
    kind = max((k for k in KINDS if name.startswith(k)), key=len, default=name.split(".")[0])
    if kind in ("loss_", "train_"):
        return kind + entry["args"]["G"].get("kind", "sg2")
    return kind


@dataclasses.dataclass
class Case:
    """Arrays of one npz file and the bookkeeping of what was compared."""

    entry: dict[str, Any]
    arrays: dict[str, np.ndarray]
    # Where it lies, and other files of it.
    folder: pathlib.Path
    compared: set[str] = dataclasses.field(default_factory=set)
    failures: list[str] = dataclasses.field(default_factory=list)
    # Official tensors of one network -> our parameters and buffers.
    convert: Convert = stylegan2.params_from_official

    @classmethod
    def load(cls, folder: pathlib.Path, entry: dict[str, Any]) -> "Case":
        """Reads the case's arrays."""
        with np.load(folder / entry["file"], allow_pickle=False) as data:
            return cls(entry, {name: data[name] for name in data.files}, folder)

    @property
    def args(self) -> dict[str, Any]:
        """What the case was made with."""
        return self.entry["args"]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def below(self, prefix: str) -> dict[str, np.ndarray]:
        """Arrays whose name begins with `prefix`, under the rest of their name."""
        n = len(prefix)
        return {name[n:]: a for name, a in self.arrays.items() if name.startswith(prefix)}

    def trees(self, prefix: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Official tensors below `prefix` as our parameters and buffers."""
        return jax.tree.map(jnp.asarray, self.convert(self.below(prefix)))

    def labels(self, name: str, n: int) -> jax.Array:
        """Stored label vectors; a missing name stands for n images without labels."""
        return jnp.asarray(self.arrays.get(name, np.zeros((n, 0), np.float32)))

    def filter(self, name: str | None) -> np.ndarray | None:
        """A stored FIR filter; a missing name or size 0 stands for none."""
        if name is None:
            return None
        taps = self.arrays[f"in/filter/{name}" if f"in/filter/{name}" in self else f"in/{name}"]
        return taps if taps.size else None

    def check(self, name: str, got: Any) -> None:
        """Compares one output in its own layout."""
        self.compared.add(name)
        self.compare(name, np.asarray(got), self.arrays[name])

    def offer(self, name: str, got: Any) -> None:
        """Compares one output where it is stored; `finish` sees to it that none is forgotten."""
        if name in self.arrays:
            self.check(name, got)

    def check_official(self, prefix: str, params: Any, buffers: Any = None, absent=()) -> None:
        """Compares trees of ours with all official tensors stored under `prefix`.

        Args:
            prefix: `out/grad/` or the like.
            params: Our nested dict of parameters or gradients.
            buffers: Our nested dict of buffers, where they are stored too.
            absent: Official names that the original has no value for; ours must be zero there.
        """
        official = self.below(prefix)
        self.compared |= {prefix + name for name in official}
        want_params, want_buffers = self.convert(official)
        want = _flatten(want_params)
        got = _flatten(params)
        for name in absent:
            if np.any(got.pop(name)):
                self.failures.append(f"{prefix}{name}: not zero, but the original has no value")
        if buffers is not None:
            want |= _flatten(want_buffers)
            got |= _flatten(buffers)
        if set(want) != set(got):
            self.failures.append(f"{prefix}: names differ: {sorted(set(want) ^ set(got))}")
        for name in sorted(set(want) & set(got)):
            self.compare(prefix + name, got[name], want[name])

    def finish(self) -> None:
        """Fails with every difference found, and where an output was never compared."""
        missing = {n for n in self.arrays if n.startswith("out/")} - self.compared
        assert not missing, f"never compared: {sorted(missing)[:10]} ({len(missing)} in all)"
        assert not self.failures, "\n" + "\n".join(self.failures[:40])

    def compare(self, name: str, got: np.ndarray, want: np.ndarray) -> None:
        if got.shape != want.shape:
            self.failures.append(f"{name}: shape {got.shape}, wanted {want.shape}")
            return
        if want.size == 0:
            return
        tolerance = self.entry["tolerance"]
        scale = np.max(np.abs(want))
        # Gradients through kinks of an activation may have a tolerance of their own.
        rtol = (
            tolerance.get("grad_rtol", tolerance["rtol"]) if "/grad" in name else tolerance["rtol"]
        )
        limit = tolerance["atol"] + rtol * scale
        error = np.max(np.abs(got.astype(np.float64) - want))
        if not error <= limit:
            self.failures.append(f"{name}: max error {error:.3g} > {limit:.3g} (scale {scale:.3g})")


def hyperparameters(**given: Any) -> Hyperparameters:
    """Numbers of the losses; what is not given is off, averages are as in the originals."""
    off = dict(
        net_order="GD",
        num_micro_batches=1,
        adversarial="logistic",
        r1_gamma=0.0,
        r2_gamma=0.0,
        gp_weight=0.0,
        gp_target=1.0,
        drift_weight=0.0,
        pl_weight=0.0,
        pl_decay=0.01,
        pl_batch_shrink=2,
        style_mixing_prob=0.0,
        w_avg_beta=0.995,
        w_avg_update="every_pass",
        magnitude_ema_kimg=20.0,
        blur_init_sigma=0.0,
        blur_fade_kimg=200.0,
        ema_kimg=10.0,
        ema_rampup=None,
        ema_decay=None,
        g_reg_interval=None,
        d_reg_interval=None,
    )
    return Hyperparameters(**(off | given))


def to_nhwc(x: np.ndarray) -> jax.Array:
    """NCHW to NHWC."""
    return jnp.asarray(x.transpose(0, 2, 3, 1))


def to_nchw(x: Any) -> np.ndarray:
    """NHWC to NCHW."""
    return np.asarray(x).transpose(0, 3, 1, 2)


def to_hwio(weight: np.ndarray, *, flip: bool = False) -> jax.Array:
    """OIHW to HWIO; `flip` turns a kernel that is convolved into one that is correlated."""
    weight = weight.transpose(2, 3, 1, 0)
    return jnp.asarray(weight[::-1, ::-1] if flip else weight)


def _flatten(tree: Any) -> dict[str, np.ndarray]:
    """Nested dicts as `{"a.b.c": array}`."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {".".join(str(k.key) for k in path): np.asarray(leaf) for path, leaf in leaves}
