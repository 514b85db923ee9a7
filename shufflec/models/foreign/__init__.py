"""Checkpoints that other projects wrote: read safely, recognized by their weights, taken into our own form."""
