"""Physics in torch: the Fourier pair, the problem, its projections, noise, symmetry and support."""
