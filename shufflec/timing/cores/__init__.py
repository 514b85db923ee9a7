"""Core models: how many cycles a block of A64 instructions takes on a Cortex-A53, Cortex-A72 or Cortex-A76."""
