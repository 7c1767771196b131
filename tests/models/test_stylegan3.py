import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from stylegan_jax.models.stylegan3 import Generator
from tests.models.small import build, count, paths, shapes

SMALL = dict(
    z_dim=6,
    w_dim=5,
    img_resolution=16,
    channel_base=128,
    channel_max=4,
    num_layers=2,
    num_critical=1,
    margin_size=6,
)
BETA = 0.5 ** (2 / 1000)


@pytest.fixture(scope="module")
def tall():
    """A network of 24 x 16 px, its parameters, and a program `(params, ws, moving, transform)`."""
    graphdef, params = build(Generator, base_grid=(6, 4), **SMALL)
    G = shapes(Generator, base_grid=(6, 4), **SMALL)

    @jax.jit
    def draw(params, ws, moving, transform, ema_beta):
        G = nnx.merge(graphdef, params)
        return G.synthesis(ws, None, moving, transform=transform, ema_beta=ema_beta)

    moving = G.init_moving()
    ws = jnp.repeat(jax.random.normal(jax.random.key(1), (2, 1, 5)), G.num_ws, axis=1)
    return G, params, moving, ws, draw


def test_names_and_counts_are_those_of_the_paper():
    G = shapes(Generator, z_dim=512, w_dim=512, **SIZES_256)
    # Without frequencies and phases, which are buffers there.
    assert count(G) - 3 * 512 == pytest.approx(28.47e6, rel=1e-3)
    assert "['synthesis']['L9_148_362']['affine']['weight']" in paths(G)
    assert G.num_ws == 16 and G.takes_transform and G.noise_layers == ()
    assert G.synthesis.L13_256_128.dtype == jnp.bfloat16
    assert G.synthesis.L2_36_512.dtype == jnp.float32
    of_r = SIZES_256 | dict(channel_base=65536, channel_max=1024)
    G = shapes(Generator, z_dim=512, w_dim=512, conv_kernel=1, use_radial_filters=True, **of_r)
    assert count(G) - 3 * 1024 == pytest.approx(18.82e6, rel=1e-3)
    assert np.shape(G.synthesis.L0_36_1024.down_taps) == (12, 12)
    assert np.shape(G.synthesis.L0_36_1024.up_taps) == (12,)


SIZES_256 = dict(c_dim=0, img_resolution=256, channel_base=32768, channel_max=512, num_bf16_res=4)


def test_an_image_moves_with_its_transform(tall):
    """By whole pixels, and as far as the margin reaches."""
    G, params, moving, ws, draw = tall
    still = np.eye(3, dtype=np.float32)
    moved = still.copy()
    moved[:2, 2] = -2 / 16, -1 / 16  # the unit is the shorter side: 2 px to the right, 1 down
    img, _ = draw(params, ws, moving, still, 1.0)
    shifted, _ = draw(params, ws, moving, moved, 1.0)
    assert img.shape == (2, 24, 16, 3)
    error = np.mean(np.square(shifted[:, 5:-4, 6:-4] - img[:, 4:-5, 4:-6]))
    assert 10 * np.log10(np.var(img) / error) > 25


def test_magnitudes_move_at_once_and_only_when_asked(tall):
    G, params, moving, ws, draw = tall
    still = np.eye(3, dtype=np.float32)
    img, kept = draw(params, ws, moving, still, 1.0)
    moved_img, moved = draw(params, ws, moving, still, BETA)
    first = G.synthesis.layer_names[0]
    before, after = (x["synthesis"][first]["magnitude_ema"] for x in (kept, moved))
    features = nnx.merge(nnx.split(G)[0], params).synthesis.input(ws[:, 0])
    magnitude = np.mean(np.square(features))
    np.testing.assert_allclose(before, 1, rtol=1e-6)
    np.testing.assert_allclose(after, magnitude + (1 - magnitude) * BETA, rtol=1e-6)
    # Magnitudes of zero do no harm.
    zero = jax.tree.map(jnp.zeros_like, moving)
    img_zero, _ = draw(params, ws, zero, still, 1.0)
    assert np.isfinite(img_zero).all()
    assert np.abs(moved_img - img).max() > 0


def test_a_network_on_its_side_is_the_transposed_one(tall):
    G, params, moving, ws, draw = tall
    graphdef, _ = build(Generator, base_grid=(4, 6), **SMALL)
    wide = shapes(Generator, base_grid=(4, 6), **SMALL)
    names = dict(zip(G.synthesis.layer_names, wide.synthesis.layer_names))

    # x and y change places: frequencies, kernels, and the sense of rotations.
    synthesis = {names.get(name, name): layer for name, layer in params["synthesis"].items()}
    source = synthesis["input"]
    order = jnp.asarray([0, 1, 3, 2])
    sign = jnp.asarray([1.0, -1.0, 1.0, 1.0])
    synthesis["input"] = source | {
        "freqs": source["freqs"][:, ::-1],
        "affine": {
            "weight": source["affine"]["weight"][:, order] * sign,
            "bias": source["affine"]["bias"][order] * sign,
        },
    }
    for name in wide.synthesis.layer_names:
        kernel = jnp.swapaxes(synthesis[name]["weight"], 0, 1)
        synthesis[name] = synthesis[name] | {"weight": kernel}
    on_side = jax.jit(lambda params: nnx.merge(graphdef, params).synthesis(ws, None, wide_moving))
    wide_moving = wide.init_moving()
    img, kept = on_side(params | {"synthesis": synthesis})
    jax.tree.map(np.testing.assert_array_equal, kept, wide_moving)
    want, _ = draw(params, ws, moving, np.eye(3, dtype=np.float32), 1.0)
    scale = np.abs(want).max()
    np.testing.assert_allclose(img, jnp.swapaxes(want, 1, 2), atol=2e-5 * scale)


def test_what_it_does_not_draw(tall):
    G, _, moving, ws, _ = tall
    with pytest.raises(ValueError, match="3 styles given, 4 wanted"):
        G.synthesis(ws[:, :3], None, moving)
    with pytest.raises(ValueError, match="resolution=8: give 16: this network is fixed"):
        G.synthesis(ws, None, moving, resolution=8)
