"""Kernels of the Cortex-M targets: plain loops for every core, and families for the DSP instructions and for MVE."""
