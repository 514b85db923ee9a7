"""Hand-shaped integer kernels for A64 cores, with (`dotprod`) and without (`neon`) the dot-product instructions."""
