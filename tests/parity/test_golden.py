"""Every stored case against what we compute; `--golden=DIR` runs any folder in this format."""

import jax
import pytest

from tests.parity import run_ops, run_progressive, run_stylegan2
from tests.parity.case import Case

RUNNERS = {
    "ops_upfirdn2d": run_ops.upfirdn2d_cases,
    "ops_filter_up_down2d": run_ops.filter_cases,
    "ops_setup_filter": run_ops.setup_filter_cases,
    "ops_bias_act": run_ops.bias_act_cases,
    "ops_conv2d_resample": run_ops.conv2d_resample_cases,
    "ops_modulated_conv2d_sg2": run_ops.modulated_conv2d_cases,
    "ops_minibatch_stddev": run_ops.minibatch_stddev_cases,
    "sg1_ops": run_progressive.ops_cases,
    "sg1_G": run_progressive.generator_cases,
    "sg1_D": run_progressive.discriminator_cases,
    "pggan_G": run_progressive.generator_cases,
    "pggan_D": run_progressive.discriminator_cases,
    "sg1_losses": run_progressive.loss_cases,
    "pggan_losses": run_progressive.loss_cases,
    "sg2_G": run_stylegan2.generator_cases,
    "sg2_D": run_stylegan2.discriminator_cases,
    "loss_sg2": run_stylegan2.loss_cases,
    "train_sg2": run_stylegan2.training_cases,
}


def test_golden(golden_entry, golden_folder, golden_kind):
    """One case: every stored output within the case's tolerance."""
    if golden_kind not in RUNNERS:
        pytest.skip(f"not covered: no runner for kind {golden_kind}")
    case = Case.load(golden_folder, golden_entry)
    with jax.default_matmul_precision("highest"):
        RUNNERS[golden_kind](case)
    case.finish()
