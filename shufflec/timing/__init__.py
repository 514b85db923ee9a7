"""Time of a virtual board: core models, caches' misses and threads turned into milliseconds."""
