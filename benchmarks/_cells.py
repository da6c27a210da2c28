"""NAS-Bench-201's networks as HW-NAS-Bench ran them (Li et al., ICLR 2021): with the operator of every edge.

A node that no operator feeds is zeros there, and what starts from it is computed all the same; so the official counts
of operations have it too.
"""

from __future__ import annotations

from hwnas.spaces.builder import Builder
from hwnas.spaces.nasbench201 import EDGES, NasBench201


class EveryEdge(NasBench201):
    """The space whose `network` leaves out no edge's operator."""

    def _cell(self, net: Builder, name: str, width: int, edges: tuple[int, ...]) -> None:
        nodes = [net.last]
        for node in (1, 2, 3):
            total: int | None = None
            for edge, (a, b) in enumerate(EDGES):
                value = self._edge(net, f"{name}.{a}{b}", width, edges[edge], nodes[a]) if b == node else None
                if value is not None:
                    total = value if total is None else net.add(f"{name}.sum{b}.{a}", total, value)
            nodes.append(net.zero(f"{name}.zeros{node}", nodes[0]) if total is None else total)
        if nodes[3] != net.last:
            net.act(f"{name}.out", "none", nodes[3])
