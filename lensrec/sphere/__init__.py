"""The sphere: grids, harmonic transforms, Wigner-d sums, and the remap T(n + ∇φ)."""
