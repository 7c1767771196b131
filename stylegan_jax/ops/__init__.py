"""Pure array functions: no parameters, no state, NHWC activations and HWIO kernels."""
