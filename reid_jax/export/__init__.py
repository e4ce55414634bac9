"""Weights as files that other engines run: ONNX and StableHLO, each held against our own forward pass."""
