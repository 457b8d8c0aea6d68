"""Compiled kernels of layers: activations, products, errors, values and weights."""
