"""Scripts that run inside the emulated arm64 Python, where shufflec itself is not installed."""
