"""shufflec: takes a trained ShuffleNet to an ARM board."""

__version__ = "0.1.0"
