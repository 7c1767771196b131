"""Every stored case against what we compute; `--golden=DIR` runs any folder in this format."""

import jax
import numpy as np
import pytest
from flax import nnx

from tests.commands import ROOT
from tests.models.small import activations
from tests.parity import (
    run_augment,
    run_features,
    run_frozen,
    run_metrics,
    run_ops,
    run_progressive,
    run_stylegan2,
    run_stylegan3,
    run_training,
    run_transformers,
)
from tests.parity.case import Case

RUNNERS = {
    "ops_upfirdn2d": run_ops.upfirdn2d_cases,
    "ops_filter_up_down2d": run_ops.filter_cases,
    "ops_setup_filter": run_ops.setup_filter_cases,
    "ops_bias_act": run_ops.bias_act_cases,
    "ops_conv2d_resample": run_ops.conv2d_resample_cases,
    "ops_modulated_conv2d_sg2": run_ops.modulated_conv2d_cases,
    "ops_modulated_conv2d_sg3": run_ops.modulated_conv2d_normalized_cases,
    "ops_filtered_lrelu": run_ops.filtered_lrelu_cases,
    "ops_fir_design": run_ops.fir_design_cases,
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
    "sg3_G": run_stylegan3.generator_cases,
    "sg3_schedule": run_stylegan3.schedule_cases,
    "loss_sg2": run_training.loss_cases,
    "train_sg2": run_training.training_cases,
    "loss_sg3": run_training.loss_cases,
    "train_sg3": run_training.training_cases,
    "inception_fid": run_features.inception_cases,
    "feat_resize_rules": run_features.resize_cases,
    "feat_torchscript": run_features.torchscript_cases,
    "feat_vgg16_lpips": run_frozen.vgg16_cases,
    "feat_attrcls": run_frozen.attribute_cases,
    "feat_efflite0": run_frozen.efficientnet_cases,
    "feat_efflite0_real": run_frozen.efficientnet_real_cases,
    "feat_dino_tiny": run_transformers.dino_cases,
    "feat_dino_vits16": run_transformers.dino_recipe_cases,
    "feat_clip_tiny": run_transformers.clip_cases,
    "feat_clip_vit": run_transformers.clip_recipe_cases,
    "feat_clip_tokenizer": run_transformers.tokenizer_cases,
    "metric_fid": run_metrics.fid_cases,
    "metric_kid": run_metrics.kid_cases,
    "metric_is": run_metrics.inception_score_cases,
    "metric_pr": run_metrics.precision_recall_cases,
    "metric_ppl": run_metrics.path_length_cases,
    "metric_separability": run_metrics.separability_cases,
    "metric_eq_operators": run_metrics.equivariance_operator_cases,
    "metric_eq_T": run_metrics.equivariance_cases,
    "metric_eq_R": run_metrics.equivariance_cases,
    "feat_frechet": run_metrics.frechet_cases,
    "ada_single": run_augment.single_cases,
    "ada_combo": run_augment.combo_cases,
    "ada_stochastic": run_augment.stochastic_cases,
    "ada_controller": run_augment.controller_cases,
    "proj_diffaug": run_augment.diffaugment_cases,
    "sgt_diffaug_loss": run_augment.stylegan_t_cases,
}


def test_golden(golden_entry, golden_folder, golden_kind):
    """One case: every stored output within the case's tolerance."""
    if golden_kind not in RUNNERS:
        pytest.skip(f"not covered: no runner for kind {golden_kind}")
    case = Case.load(golden_folder, golden_entry)
    with jax.default_matmul_precision("highest"):
        RUNNERS[golden_kind](case)
    case.finish()


def test_random_networks_are_as_equivariant_as_the_paper_says():
    """Of the stored values, which ours are compared with above: training has no part in it."""
    values = {}
    for config in "TR":
        with np.load(ROOT / f"tests/data/golden/metric_eq_{config}.npz") as case:
            values[config] = case["out/psnr_eqt_int_eqt_frac_eqr"]
    assert values["T"][:2].min() > 55 and values["R"][:2].min() > 55
    assert values["R"][2] > 35 and values["T"][2] < 30


def structure(made):
    """A network with shapes for weights."""
    graphdef, init = made[:2]
    return nnx.merge(graphdef, jax.eval_shape(init, jax.random.key(0)))


def test_options_of_stylegan2_reach_the_layers_that_they_mean():
    """The same name means another layer in another group."""
    sizes = dict(c_dim=2, img_resolution=8, img_channels=3)
    mapping = dict(activation="elu", num_layers=1, lr_multiplier=0.5, w_avg_beta=0.9)
    synthesis = dict(activation="tanh", resample_filter=[1, 2, 3, 0, 1], num_fp16_res=0)
    latents = dict(z_dim=4, w_dim=4, mapping_kwargs=mapping, **sizes)
    wanted = {"mapping.fc0": "elu"} | {
        f"synthesis.{conv}": "tanh" for conv in ("b4.conv1", "b8.conv0", "b8.conv1")
    }
    # One repository has a group for the synthesis network, the other has none.
    for options in ({"synthesis_kwargs": synthesis}, synthesis):
        G = structure(run_stylegan2.make_generator(latents | options))
        assert activations(G) == wanted
        assert G.mapping.fc0.lr_multiplier == 0.5
        assert G.synthesis.b8.taps == pytest.approx([1 / 7, 2 / 7, 3 / 7, 0, 1 / 7])

    options = dict(
        block_kwargs=dict(activation="relu", resample_filter=[1, 1]),
        mapping_kwargs=mapping,
        epilogue_kwargs=dict(activation="selu", mbstd_num_channels=0),
    )
    D = structure(run_stylegan2.make_discriminator(sizes | options))
    wanted = {f"b8.{layer}": "relu" for layer in ("fromrgb", "conv0", "conv1")}
    wanted |= {"mapping.fc0": "elu", "b4.conv": "selu", "b4.fc": "selu"}
    assert activations(D) == wanted and D.b8.taps == (0.5, 0.5)


def test_options_of_progan_and_stylegan1_reach_the_layers_that_they_mean():
    official = dict(resolution=8, num_channels=3)
    made = run_progressive.make_network("progan_G", official | dict(use_leakyrelu=False))
    assert set(activations(structure(made)).values()) == {"relu"}
    made = run_progressive.make_network("stylegan1_D", official | dict(nonlinearity="relu"))
    assert set(activations(structure(made)).values()) == {"relu"}
    options = dict(mapping_nonlinearity="relu", mapping_lrmul=0.1, mapping_layers=1)
    G = structure(run_progressive.make_network("stylegan1_G", official | options))
    assert activations(G) == {"mapping.fc0": "relu"} and G.mapping.fc0.lr_multiplier == 0.1
    assert G.synthesis.b8.epilogue0.switches.act == "lrelu"
