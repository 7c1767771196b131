import jax.numpy as jnp
import pytest

from stylegan_jax.training.schedules import ema_beta, lazy_adam


def test_lazy_adam_has_the_published_numbers():
    lr, betas = lazy_adam(0.002, (0.0, 0.99), 4)
    assert lr == pytest.approx(0.0016) and betas[0] == 0
    assert betas[1] == pytest.approx(0.9919919678, abs=1e-9)
    assert lazy_adam(0.002, (0.0, 0.99), 16)[1][1] == pytest.approx(0.9905854573, abs=1e-9)
    assert lazy_adam(0.002, (0.0, 0.99), None) == (0.002, (0.0, 0.99))


def test_ema_half_life():
    beta = ema_beta(jnp.int32(10**6), batch_size=1000, ema_kimg=10.0, ema_rampup=None)
    assert float(beta) ** 10 == pytest.approx(0.5, rel=1e-5)


def test_ema_ramps_up_from_a_copy():
    def beta(nimg):
        value = ema_beta(jnp.int32(nimg), batch_size=32, ema_kimg=10.0, ema_rampup=0.05)
        return float(value)

    assert beta(0) == 0.0
    assert beta(3200) == pytest.approx(0.5 ** (32 / 160), rel=1e-5)
    assert beta(10**7) == pytest.approx(0.5 ** (32 / 10000), rel=1e-5)
