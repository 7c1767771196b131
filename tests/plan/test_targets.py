import pytest

from stylegan_jax.plan import targets
from stylegan_jax.plan.gpus import GPUS, target_config


def test_names():
    topology = targets.parse_topology("4*v6e:16x16")
    assert (topology.generation, topology.shape, topology.num_slices) == ("v6e", (16, 16), 4)
    assert topology.platform == "tpu"
    assert targets.parse_topology("v5p:4x4x8").shape == (4, 4, 8)
    assert targets.parse_topology("h100:8x8").platform == "gpu"


@pytest.mark.parametrize("name", ["v5e", "v5litepod-16", "v9:2x2", "v5e:0x2", "h100:8", "v5e:2x"])
def test_unknown_names_say_what_would_do(name):
    with pytest.raises(ValueError, match=name.split(":")[0]) as error:
        targets.parse_topology(name)
    assert "give" in str(error.value) or "at least 1" in str(error.value)


@pytest.mark.parametrize(("name", "extra"), [("v5e:2x2", "[plan]"), ("h100:1x8", "[plan-gpu]")])
def test_a_missing_compiler_names_what_installs_it(monkeypatch, name, extra):
    monkeypatch.setattr(targets, "_is_installed", lambda module: False)
    with pytest.raises(ValueError, match="pip install") as error:
        targets.check_installed(targets.parse_topology(name))
    assert extra in str(error.value)


@pytest.mark.parametrize(
    "installed", [{"jax_cuda12_plugin", "nvidia.cuda_nvcc"}, {"jax_cuda13_plugin", "nvidia.cu13"}]
)
def test_either_cuda_will_do(monkeypatch, installed):
    topology = targets.parse_topology("h100:1x8")
    monkeypatch.setattr(targets, "_is_installed", lambda module: module in installed)
    targets.check_installed(topology)
    monkeypatch.setattr(targets, "_is_installed", lambda module: module == min(installed))
    with pytest.raises(ValueError, match="jax_cuda12_plugin|nvidia.cuda_nvcc"):
        targets.check_installed(topology)


def test_the_limit_is_read_from_the_compilers_words():
    words = "Ran out of memory on HBM: (32.02G) exceeds available HBM (15.75G)."
    assert targets.read_limit(words) == int(15.75 * 2**30)
    with pytest.raises(RuntimeError, match="names no limit"):
        targets.read_limit("out of memory")


def test_every_gpu_has_a_description():
    assert {name for name, chip in targets.CHIPS.items() if chip.platform == "cuda"} == set(GPUS)
    text = target_config(GPUS["h100"], memory_bytes=80 * 10**9, bandwidth=3350e9)
    assert "device_memory_size: 80000000000" in text and "{{" not in text


def test_workers_stay_off_the_hosts_own_hardware(monkeypatch):
    monkeypatch.setenv("JAX_ENABLE_X64", "1")
    env = targets.worker_environment(targets.parse_topology("v5e:2x2"))
    assert env["JAX_PLATFORMS"] == "cpu" and env["TPU_SKIP_MDS_QUERY"] == "1"
    assert "JAX_ENABLE_X64" not in env  # nor is it followed by a run
    env = targets.worker_environment(targets.parse_topology("h100:1x8"))
    assert "autotune_level=0" in env["XLA_FLAGS"]
