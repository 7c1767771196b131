"""What the compiler is told in tests, where a few iterations do not repay what optimising costs."""

# One kernel per fusion by the older emitters: two fifths less to compile, equal up to rounding.
FAST_FLAGS = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
