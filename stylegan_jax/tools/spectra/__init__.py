"""Average power spectra of reals and fakes."""
