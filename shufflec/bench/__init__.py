"""Measures shufflec beside the engines that people would pick instead, on the same model and the same core."""
