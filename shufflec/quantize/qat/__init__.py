"""Quantization-aware training: a QDQ graph as a torch network whose grids are trained, and back."""
