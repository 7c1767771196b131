"""What is random in a step, and the reals."""

import jax
import jax.numpy as jnp
import numpy as np

from stylegan_jax.training.inputs import draw_inputs, split_micro_batches
from stylegan_jax.training.sharding import make_mesh, put_batch
from tests.training.conftest import constants_of, phase_of, with_hyper


def test_phases_get_what_they_need_and_no_more(whole, batch):
    setup, _, _ = whole
    batch = jax.tree.map(jnp.asarray, batch)
    expected = {
        "Gmain": {"gen"},
        "Greg": {"pl", "directions"},
        "Dmain": {"gen", "real"},
        "Dreg": {"real"},
    }
    for name, wanted in expected.items():
        phase = phase_of(setup, name)
        found = draw_inputs(jax.random.key(2), phase, batch, constants_of(0), setup)
        given = {field for field, value in found._asdict().items() if value is not None}
        assert given == wanted, name
        n = 8 if name == "Greg" else 16  # path lengths on half of the batch
        assert all(len(leaf) == n for leaf in jax.tree.leaves(found))


def test_real_images_are_mixed_with_their_averages(growing, batch):
    setup, _, _ = growing
    phase = phase_of(setup, "Dboth")
    arrays = jax.tree.map(jnp.asarray, batch)
    got = draw_inputs(
        jax.random.key(2), phase, arrays, constants_of(0), setup, fade=jnp.float32(0.25)
    )
    whole = batch["image"] / 127.5 - 1
    means = whole.reshape(16, 6, 2, 4, 2, 3).mean(axis=(2, 4)).repeat(2, 1).repeat(2, 2)
    np.testing.assert_allclose(got.real.img, 0.75 * whole + 0.25 * means, atol=1e-6)
    assert set(got.gen.noise) == {"b4", "b8"}, "no noise above the level's resolution"
    assert float(jnp.max(got.gen.cutoff)) <= 4, "four layers have grown"
    assert got.mix.shape == (16, 1, 1, 1)


def test_labels_of_fakes_follow_the_data(whole, batch):
    setup, _, _ = whole
    phase = phase_of(setup, "Gmain")
    big = {k: jnp.repeat(v, 64, axis=0) for k, v in batch.items()}
    constants = constants_of(*[1] * 9, 0)
    inputs = draw_inputs(jax.random.key(5), phase, big, constants, setup)
    share = float(inputs.gen.c[:, 1].mean())
    assert 0.85 < share < 0.95  # 0.9 +- 5 standard errors of 1024 draws


def test_without_labels_of_the_set_fakes_get_those_of_the_batch(whole, batch):
    """Whatever the devices; vectors as they are."""
    setup, _, _ = whole
    phase = phase_of(setup, "Gmain")
    vectors = np.random.default_rng(1).normal(size=(16, 2)).astype(np.float32)
    batch = batch | {"label": vectors}
    found = []
    for devices in (jax.devices()[:1], jax.devices()):
        mesh = make_mesh(devices)
        placed = put_batch(mesh, batch, 16)
        with jax.set_mesh(mesh):
            draw = jax.jit(
                lambda b, mesh=mesh: draw_inputs(jax.random.key(3), phase, b, {}, setup, mesh=mesh)
            )
            found.append(np.asarray(draw(placed).gen.c))
    one, four = found
    np.testing.assert_array_equal(one, four)
    rows = {tuple(row) for row in vectors.tolist()}
    drawn = {tuple(row) for row in one.tolist()}
    assert drawn <= rows and 5 < len(drawn) < 16, "drawn with replacement"


def test_mixing_cutoffs(whole, batch):
    """Mixed with the wanted probability, between the first and the last layer."""
    setup, _, _ = whole
    batch = jax.tree.map(jnp.asarray, batch)
    setup = with_hyper(setup, num_micro_batches=16)
    phase = phase_of(setup, "Gmain")

    def draw(key):
        return draw_inputs(key, phase, batch, constants_of(0), setup).gen.cutoff

    cutoffs = np.asarray(jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(6), 64)))
    num_ws = setup.networks.num_ws
    is_mixed = cutoffs < num_ws
    assert set(cutoffs[is_mixed]) == set(range(1, num_ws))
    assert 0.85 < is_mixed.mean() < 0.95  # 0.9 +- 5 standard errors of 1024 draws


def test_images_are_dealt_out_in_turn():
    dealt = split_micro_batches({"x": jnp.arange(6)}, 2)
    np.testing.assert_array_equal(dealt["x"], [[0, 2, 4], [1, 3, 5]])
