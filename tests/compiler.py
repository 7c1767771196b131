"""What the compiler is told in tests, where a few iterations do not repay what optimising costs."""

import importlib.metadata

# The compilers that are known to know the other flags: any other would stop at them.
_MAJOR_MINOR = tuple(int(part) for part in importlib.metadata.version("jaxlib").split(".")[:2])

FAST_FLAGS = "--xla_backend_optimization_level=0"
if _MAJOR_MINOR <= (0, 10):
    # One kernel per fusion by the older emitters: two fifths less to compile, equal up to rounding.
    FAST_FLAGS += " --xla_cpu_use_fusion_emitters=false"
    # A program is not cut into 32 for as many threads: a fifth less where all cores have work.
    FAST_FLAGS += " --xla_cpu_parallel_codegen_split_count=1"
