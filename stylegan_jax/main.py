"""Trains a model: `python -m stylegan_jax.main --config=configs/quickstart.py --workdir=DIR`.

With `--mode=plan --topology=v5e:16x16` it trains nothing: it compiles the run's programs for that
hardware, which need not be here, and says whether they fit and what they cost.

Settings are overridden as `--config.schedule.batch_size=64`; a recipe's own arguments follow its
name: `--config=quickstart:fast,labels`. Running the same command again continues.

The exit code is 0 at the end of the run, 42 where it was stopped (SIGTERM, Ctrl-C, a terminal that
was closed) and saved.
"""

import os
import sys
from typing import NoReturn

from stylegan_jax.run.preemption import EXIT_STOPPED, PreemptionGuard

# A signal may come while the rest is imported, which takes seconds.
_GUARD = PreemptionGuard(ends_process=True)
if __name__ == "__main__":
    _GUARD.__enter__()

import jax
from absl import app, flags, logging
from ml_collections import config_flags

from stylegan_jax.errors import UserError
from stylegan_jax.recipes import define_recipe_flag
from stylegan_jax.run.numerics import pin_numerics
from stylegan_jax.run.processes import any_should_stop, join_processes, leave_after_error
from stylegan_jax.run.progress import prepare_terminal
from stylegan_jax.training.settings import SettingsError, check_settings

_CONFIG = define_recipe_flag()
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the run, local or gs://BUCKET/FOLDER; it continues."
)
_MODE = flags.DEFINE_enum("mode", "train", ["train", "plan"], "Train, or plan a training run.")
_TOPOLOGY = flags.DEFINE_string(
    "topology", None, "Hardware to plan for: v5e:16x16, 4*v6e:16x16 (slices), h100:8x8."
)
_PROFILE = flags.DEFINE_string(
    "profile", None, "START:STOP: trace these iterations of this process into WORKDIR/profile."
)
_COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of the first process.")
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "Processes of the run.")
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "Number of this process, from 0.")
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed",
    None,
    "Let jax find the other processes; default: on Cloud TPU, Slurm, Kubernetes.",
)


def main(argv: list[str]) -> None:
    """Reads the flags, readies the devices and trains, or plans."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments {argv[1:]}; settings are --config.KEY=VALUE.")
    if (_MODE.value == "plan") != (_TOPOLOGY.value is not None):
        raise app.UsageError("--mode=plan and --topology=CHIP:SHAPE go together.")
    prepare_terminal()
    pin_numerics()
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # libraries report their every step below that
    config = _CONFIG.value
    try:
        check_settings(config)
    except SettingsError as error:
        sys.exit(f"{error}")
    workdir = _WORKDIR.value
    topology = _TOPOLOGY.value
    assert workdir is not None  # absl has refused a command without it
    if topology is not None:
        jax.config.update("jax_platforms", "cpu")
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # compilers that are installed announce themselves

        from stylegan_jax.plan.planner import plan

        try:
            plan(config, topology, workdir)
        except ValueError as error:  # of the settings, the topology, or what is not installed
            sys.exit(f"{error}")
        return
    if config.cpu_devices:
        jax.config.update("jax_num_cpu_devices", config.cpu_devices)
    # A second start finds its programs compiled.
    cache = os.environ.get("JAX_COMPILATION_CACHE_DIR", "~/.cache/stylegan_jax/xla")
    jax.config.update("jax_compilation_cache_dir", os.path.expanduser(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)

    join_processes(
        coordinator=_COORDINATOR.value,
        num_processes=_NUM_PROCESSES.value,
        process_id=_PROCESS_ID.value,
        distributed=_DISTRIBUTED.value,
    )

    if jax.process_count() > 1:
        _GUARD.share(any_should_stop)

    from stylegan_jax.train import train

    try:
        overrides = config_flags.get_override_values(flags.FLAGS["config"])
        state = train(config, workdir, profile=_PROFILE.value, overrides=overrides, guard=_GUARD)
    except SystemExit:  # of the guard: it does not wait for compilers that still work
        _leave_now(EXIT_STOPPED)
    except Exception as error:
        _GUARD.finish(1)
        leave_after_error()
        # What a user can mend is said in a sentence, all else with its trace.
        if isinstance(error, UserError):
            print(error, file=sys.stderr)
            _leave_now(1)  # what a failed save has left behind would still report itself
        raise
    # A run may also end before its last image, where its scores do not get better any more.
    is_whole = int(state.nimg) >= round(config.schedule.total_kimg * 1000)
    code = EXIT_STOPPED if _GUARD.has_stopped and not is_whole else 0
    _GUARD.finish(code)
    sys.exit(code)


def _leave_now(code: int) -> NoReturn:
    """Ends the process without the rest of its clean-up; the run's own is done."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "workdir"])
    app.run(main)
