"""Plain TIR loops for every operator kind: the only kernels of the host target, the fallback on ARM."""
