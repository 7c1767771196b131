"""The networks of metrics: images per second, beside their convolutions alone or on a TPU.

    python -m benchmarks.bench_metrics [--networks=inception,vgg16] [--batch=8] [--resolution=256]
    python -m benchmarks.bench_metrics --networks=inception,vgg16 --batch=8,32 --topology=v5e:1x1

The second number of the first table is that of a program which has the same convolutions, of the
same shapes, and nothing else: no resizing, pooling, activations or joining of branches. Both
programs run in turn, and the best run of each counts: other work only ever slows one down. On CPUs
seconds are those that all cores spent together, so that rates are those of one core; elsewhere they
are those of a clock.

With `--topology` nothing runs: the same programs are compiled for a chip that need not be here, and
times are the compiler's estimates, as those of a plan: by its schedule, and by products and memory
traffic alone. Each is compiled as the metrics have it, whose products are as exact as float32's,
and with the products that a TPU makes of float32 where nobody asks for more: of bfloat16. What
draws images is in neither. Needs the extra `plan`, and minutes per program: in full precision ten
and more on a busy core.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from stylegan_jax.models import make_model
from stylegan_jax.models.pretrained import FEATURE_NETWORKS as NETWORKS
from stylegan_jax.models.pretrained import FeatureNetwork
from stylegan_jax.plan import worker
from stylegan_jax.plan.targets import (
    check_installed,
    parse_topology,
    topology_devices,
    worker_environment,
)
from stylegan_jax.run.progress import describe_duration

# What the times of an evaluation are told of: images, and chips that share them.
_NUM_IMAGES = 50_000
_NUM_CHIPS = 256


def convolutions(jaxpr: Jaxpr) -> Iterator[Any]:
    """Yields the convolutions of a traced program, nested ones too."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "conv_general_dilated":
            yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, (tuple, list)) else (value,):
                if isinstance(inner, ClosedJaxpr):
                    yield from convolutions(inner.jaxpr)
                elif isinstance(inner, Jaxpr):
                    yield from convolutions(inner)


def make_bare(equations: list[Any]) -> tuple[Callable[..., Any], list[Any]]:
    """Returns a program of these alone, and operands for it."""
    random = np.random.default_rng(0)
    operands = [
        [jnp.asarray(random.normal(size=x.aval.shape), x.aval.dtype) for x in equation.invars]
        for equation in equations
    ]

    def run(operands):
        pairs = zip(equations, operands)
        return [eq.primitive.bind(*values, **eq.params) for eq, values in pairs]

    return run, operands


def compile_timed(function: Callable[..., Any], *args: Any) -> tuple[Callable[..., Any], float]:
    """Compiles a program, and returns the seconds that it took."""
    start = time.perf_counter()
    return jax.jit(function).lower(*args).compile(), time.perf_counter() - start


def make_features(network: FeatureNetwork) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Returns `features(params, img)`, what metrics look at, and what makes random weights."""
    graphdef, init = make_model(network.make)

    def features(params, img):
        # What leads to other outputs is not computed.
        outputs = network.apply(nnx.merge(graphdef, params), img)
        return next(iter(outputs[key] for key in network.outputs))

    return features, init


def measure(name: str, batch: int, resolution: int, repeats: int) -> str:
    """Returns a line of the table."""
    features, init = make_features(NETWORKS[name])
    params = jax.jit(init)(jax.random.key(0))
    img = jax.random.randint(jax.random.key(1), (batch, resolution, resolution, 3), 0, 256)
    img = img.astype(jnp.uint8)

    # The same convolution of the same operands is computed once, if it is written twice.
    traced = convolutions(jax.make_jaxpr(features)(params, img).jaxpr)
    equations = list({tuple(map(id, equation.invars)): equation for equation in traced}.values())
    bare, operands = make_bare(equations)
    whole, compile_sec = compile_timed(features, params, img)
    bare, _ = compile_timed(bare, operands)

    clock = time.process_time if jax.default_backend() == "cpu" else time.perf_counter
    seconds: dict[str, list[float]] = {"whole": [], "bare": []}
    for _ in range(repeats + 1):  # the first warms up
        for key, run, args in (("whole", whole, (params, img)), ("bare", bare, (operands,))):
            start = clock()
            jax.block_until_ready(run(*args))
            seconds[key].append(clock() - start)
    rates = {key: batch / min(times[1:]) for key, times in seconds.items()}
    return (
        f"| {name} | {resolution} px | {batch} | {rates['whole']:.2f} | {rates['bare']:.2f} | "
        f"{rates['whole'] / rates['bare']:.2f} | {len(equations)} | {compile_sec:.1f} |"
    )


def run_imprecisely(closed: ClosedJaxpr, *args: Any) -> list[Any]:
    """Runs a traced program, with what the device does by default for its products."""
    jaxpr = closed.jaxpr
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*closed.consts, *args], strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else values[atom]

    for equation in jaxpr.eqns:
        inputs = [read(atom) for atom in equation.invars]
        params = dict(equation.params)
        inner = params.get("jaxpr", params.get("call_jaxpr"))
        if isinstance(inner, ClosedJaxpr):
            results = run_imprecisely(inner, *inputs)
        else:
            if "precision" in params:
                params["precision"] = None
            found = equation.primitive.bind(*inputs, **params)
            results = found if equation.primitive.multiple_results else [found]
        values |= zip(equation.outvars, results)
    return [read(atom) for atom in jaxpr.outvars]


def estimate(
    name: str, batch: int, resolution: int, topology: str, products: list[str]
) -> Iterator[str]:
    """Yields the lines of a network at a batch, one for each kind of products."""
    target = parse_topology(topology)
    sharding = jax.sharding.SingleDeviceSharding(topology_devices(target)[0])
    features, init = make_features(NETWORKS[name])
    shapes = jax.eval_shape(init, jax.random.key(0))
    img = jax.ShapeDtypeStruct((batch, resolution, resolution, 3), jnp.uint8)
    args = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), (shapes, img)
    )
    traced = jax.make_jaxpr(features)(*args)

    def imprecise(params, img):
        return run_imprecisely(traced, *jax.tree.leaves((params, img)))

    functions = {"float32": features, "bfloat16": imprecise}
    for words in products:
        function = functions[words]
        start = time.perf_counter()
        found = worker.compile_lowered(jax.jit(function).lower(*args), target)
        compile_sec = time.perf_counter() - start
        cells = [name, f"{resolution} px", str(batch), words]
        if not found["fits"]:
            yield f"| {' | '.join(cells)} | does not fit: {found['message']} |"
            continue
        memory = sum(found[f"{kind}_bytes"] for kind in ("argument", "temp", "output"))
        seconds = found["schedule_sec"]
        cells += [f"{batch / seconds:.0f}", f"{batch / found['roofline_sec']:.0f}"]
        cells += [f"{memory / 2**30:.2f}"]
        for chips in (1, _NUM_CHIPS):
            calls = -(-_NUM_IMAGES // (batch * chips))
            cells.append(describe_seconds(calls * seconds))
        yield f"| {' | '.join(cells)} | {compile_sec:.0f} |"


def describe_seconds(seconds: float) -> str:
    """Writes a time that may be short."""
    return f"{seconds:.1f} s" if seconds < 60 else describe_duration(seconds)


def main() -> None:
    """Prints a row for each network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", default="inception")
    parser.add_argument("--batch", default="8")
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--topology", help="compile for one chip of it, as v5e:1x1, and run nothing"
    )
    parser.add_argument("--products", default="float32,bfloat16", help="with --topology")
    args = parser.parse_args()
    batches = [int(batch) for batch in args.batch.split(",")]
    wanted = [(name, batch) for name in args.networks.split(",") for batch in batches]
    if args.topology:
        target = parse_topology(args.topology)
        check_installed(target)
        # Only the compiler of that chip is wanted, whatever is here.
        os.environ.update(worker_environment(target))
        jax.config.update("jax_platforms", "cpu")
        print(
            "| network | images | batch | products | images/s, schedule | roofline | GiB "
            f"| {_NUM_IMAGES} images, 1 chip | {_NUM_CHIPS} chips | compiled, s |"
        )
        print("|---|---|---|---|---|---|---|---|---|---|")
        for name, batch in wanted:
            for line in estimate(
                name, batch, args.resolution, args.topology, args.products.split(",")
            ):
                print(line, flush=True)
        return
    print(f"{jax.devices()[0].device_kind}, {len(jax.devices())} device(s)")
    print("| network | images | batch | images/s | convolutions alone | ratio | of them | s |")
    print("|---|---|---|---|---|---|---|---|")
    for name, batch in wanted:
        print(measure(name, batch, args.resolution, args.repeats), flush=True)


if __name__ == "__main__":
    main()
