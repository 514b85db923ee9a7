"""Firmware for Cortex-M: layout, call sequence in C, linking, stack and budgets."""
