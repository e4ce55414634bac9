"""Data sets: found and prepared, split, sampled in batches, augmented on the device, drawn, and checked."""
