"""Adam as the StyleGAN family uses it: shared by main and lazy regularisation phases."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from stylegan_jax.training.schedules import lazy_adam

# What a regularisation loss does not depend on: the path length is a gradient of the image, which
# the last linear biases only shift; R1 is a gradient of the logit, likewise.
_ABSENT_FROM_REGULARIZATION = (("torgb", "bias"), ("b4", "out", "bias"))


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """Adam whose regularisation phases may leave out the parameters they have no gradient for.

    Attributes:
        transform: The optax transformation, without the learning rate.
        lr_factor: Correction of the learning rate for lazy regularisation.
        absent_grads: `zero` steps every parameter in every phase (StyleGAN2-ADA); `skip` leaves a
            parameter's moments and step count alone where it has no gradient (StyleGAN3).
    """

    transform: optax.GradientTransformation
    lr_factor: float
    absent_grads: str

    def init(self, params: dict[str, Any]) -> Any:
        """First optimiser state."""
        return self.transform.init(params)

    def update(
        self,
        grads: dict[str, Any],
        opt_state: Any,
        params: dict[str, Any],
        *,
        learning_rate: float,
        is_reg: bool,
    ) -> tuple[dict[str, Any], Any]:
        """One Adam step.

        Args:
            grads: Gradients.
            opt_state: State before.
            params: Parameters before.
            learning_rate: Step size before the correction.
            is_reg: Whether this is the step of a regularisation phase alone.

        Returns:
            `(params, opt_state)`.
        """
        updates, new_state = self.transform.update(grads, opt_state, params)
        # StyleGAN3 (and PyTorch) leaves parameters without a gradient alone, their moments too.
        if is_reg and self.absent_grads == "skip":
            assert isinstance(new_state, optax.MultiTransformState)
            inner = {**new_state.inner_states, "main": opt_state.inner_states["main"]}
            new_state = new_state._replace(inner_states=inner)
            updates = jax.tree.map(
                lambda update, label: jnp.zeros_like(update) if label == "main" else update,
                updates,
                _phase_labels(params),
            )
        # p - rate * m / (sqrt(v) + eps)
        step = learning_rate * self.lr_factor
        return jax.tree.map(lambda p, update: p - step * update, params, updates), new_state


def make_optimizer(
    *,
    betas: tuple[float, float],
    eps: float,
    reg_interval: int | None,
    absent_grads: str = "zero",
) -> Optimizer:
    """Builds Adam with the correction of lazy regularisation.

    Args:
        betas: Decays of the moments before the correction.
        eps: Added to the root of the second moment.
        reg_interval: Iterations between regularisation steps; None: no such phase.
        absent_grads: See `Optimizer`.

    Raises:
        ValueError: Unknown `absent_grads`.

    Source: Karras et al. 2020 (StyleGAN2), appendix B.
    Checked: tests/parity, cases `train_*` (parameters and step counts after 4 iterations).
    """
    if absent_grads not in ("zero", "skip"):
        raise ValueError(f"absent_grads={absent_grads!r}: choose zero or skip.")
    lr_factor, (b1, b2) = lazy_adam(1.0, betas, reg_interval)
    adam = optax.scale_by_adam(b1=b1, b2=b2, eps=eps)
    # Two groups with step counts of their own: those that every step moves, and the others.
    if absent_grads == "skip":
        adam = optax.partition({"main": adam, "every": adam}, _phase_labels)
    return Optimizer(adam, lr_factor, absent_grads)


def _phase_labels(params: dict[str, Any]) -> dict[str, Any]:
    """Names the phases that move each parameter: every one, or the main phases only."""

    def label(path: tuple, _: Any) -> str:
        names = tuple(key.key for key in path)
        absent = any(names[-len(end) :] == end for end in _ABSENT_FROM_REGULARIZATION)
        return "main" if absent else "every"

    return jax.tree_util.tree_map_with_path(label, params)
