"""Search for the fastest tiling of each kernel, measured on boards; what is found becomes tuning records."""
