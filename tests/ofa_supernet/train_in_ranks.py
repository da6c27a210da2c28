"""Run by torchrun: trains the recipe in a file into a folder, on as many processes as there are.

`train_in_ranks.py RECIPE OUT`; the environment says the rank.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import tiny_training

    from hwnas.ofa_supernet.ranks import open_ranks
    from hwnas.ofa_supernet.train import train

    tiny_training.register()
    recipe, out = map(Path, sys.argv[1:])
    ranks = open_ranks("cpu")
    supernet = train(recipe.read_text(), tiny_training.stripes(out).splits(), out, resume=True, ranks=ranks)
    digest = torch.stack([value.double().sum() for value in supernet.state_dict().values()]).sum().item()
    sys.stdout.write(f"rank {ranks.rank} of {ranks.world}: {digest!r}\n")
