"""Ways to search: each proposes feasible architectures only and draws only from the generator passed in."""
