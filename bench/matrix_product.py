"""Prints how fast PyTorch multiplies matrices on all threads, in GFLOP/s: how much of the machine is there for a measurement."""
import time

import torch

SIZE = 1536

a, b = torch.rand(SIZE, SIZE), torch.rand(SIZE, SIZE)
best = 0.0
# Three to warm up.
for i in range(13):
    begun = time.perf_counter()
    a @ b
    if i >= 3:
        best = max(best, 2 * SIZE**3 / (time.perf_counter() - begun) / 1e9)
print(best)
