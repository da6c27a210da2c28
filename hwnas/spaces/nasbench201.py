"""The cell space of NAS-Bench-201 (Dong and Yang, ICLR 2020, section 2.1): 6 edges, 5 operators, 15,625 cells.

A cell has four nodes, 0 to 3; the genes are its edges' operators in the order 0-1, 0-2, 1-2, 0-3, 1-3, 2-3. A node is
the sum of the edges that end in it. The network is a stem, three stages of five such cells with 16, 32 and 64 channels,
a residual block of stride 2 between stages, and a classifier.

An edge that is on no path from the cell's input to its output is inactive: nothing of it is computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from hwnas.core.arch import Arch, Choice, Genes
from hwnas.core.errors import InputError
from hwnas.core.net import NetSpec, Shape
from hwnas.core.protocols import Slot
from hwnas.spaces.builder import Builder

SPACE_ID = "nas_bench_201/v1"
OPERATORS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
NONE, SKIP, CONV_1X1, CONV_3X3, AVG_POOL = range(5)
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
CELLS = 5
"""In each stage."""
WIDTHS = (16, 32, 64)
RESOLUTION = 32
"""Of CIFAR-10's images."""


@dataclass(frozen=True)
class NasBench201:
    """The space, for a number of classes and input channels."""

    classes: int = 10
    in_channels: int = 3
    id: str = SPACE_ID

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        return tuple(Choice(f"edge{a}{b}", tuple(range(len(OPERATORS)))) for a, b in EDGES)

    def active(self, genes: Genes) -> NDArray[np.bool_]:
        """Which edges lie on a path from input to output on which no edge is "none"; N x 6 in, N x 6 out."""
        fed = np.zeros((len(genes), 4), dtype=np.bool_)
        heard = np.zeros((len(genes), 4), dtype=np.bool_)
        fed[:, 0], heard[:, 3] = True, True
        for edge, (a, b) in enumerate(EDGES):  # edges come in the order of the node they end in
            fed[:, b] |= fed[:, a] & (genes[:, edge] != NONE)
        for a, b in ((2, 3), (1, 3), (1, 2), (0, 3), (0, 2), (0, 1)):
            heard[:, a] |= heard[:, b] & (genes[:, EDGES.index((a, b))] != NONE)
        live: NDArray[np.bool_] = np.stack([fed[:, a] & heard[:, b] for a, b in EDGES], axis=1) & (genes != NONE)
        return live

    def canonical(self, genes: Genes) -> Genes:
        """Inactive edges set to "none"; N x 6 in, N x 6 out."""
        return np.where(self.active(genes), genes, NONE).astype(np.int16)

    def arch(self, text: str) -> Arch:
        """An architecture from its published string, ``|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|...|``.

        Raises:
            InputError: the text is no such string.
        """
        edges = [part.split("~") for node in text.split("+") for part in node.strip("|").split("|")]
        known = [op for op, *source in edges if op in OPERATORS and len(source) == 1]
        if len(edges) != len(EDGES) or len(known) != len(EDGES):
            raise InputError(f"not a cell of {self.id}: {text!r}; want |op~0|+|op~0|op~1|+|op~0|op~1|op~2|")
        genes = np.array([[OPERATORS.index(op) for op in known]], dtype=np.int16)
        return Arch(self.id, tuple(int(gene) for gene in self.canonical(genes)[0]))

    def lower(self, arch: Arch) -> NetSpec:
        """The network of an architecture, without what is not computed.

        Raises:
            InputError: the architecture belongs to another space, or a gene is out of range.
        """
        fits = arch.space_id == self.id and len(arch.genes) == len(EDGES)
        if not fits or any(not 0 <= gene < len(OPERATORS) for gene in arch.genes):
            raise InputError(f"not an architecture of {self.id}: {arch}")
        genes = self.canonical(np.array([arch.genes], dtype=np.int16))[0]
        return self.network(tuple(int(gene) for gene in genes))

    def network(self, edges: tuple[int, ...]) -> NetSpec:
        """The network of six operators as it is written, inactive edges included: what runs where nobody prunes.

        A node without inputs is zeros. An edge of "none" is no operator.
        """
        net = Builder((self.in_channels, RESOLUTION, RESOLUTION))
        self._stem(net)
        for stage in range(len(WIDTHS)):
            if stage:
                self._reduction(net, stage)
            self._stage(net, stage, edges)
        self._head(net)
        return net.build()

    def cell(self, edges: tuple[int, ...], stage: int = 0) -> NetSpec:
        """One cell alone, with the channels and size of a stage."""
        net = Builder(self._shape(stage))
        net.block = "cell"
        self._cell(net, "cell", WIDTHS[stage], edges)
        return net.build()

    def slots(self) -> tuple[Slot, ...]:
        """Stem, stages with the residual blocks between them, head; a stage depends on every edge."""
        edges = tuple(range(len(EDGES)))
        stages = [Slot("stage0", edges), Slot("reduction1", ()), Slot("stage1", edges)]
        return (Slot("stem", ()), *stages, Slot("reduction2", ()), Slot("stage2", edges), Slot("head", ()))

    def block(self, slot: Slot, options: tuple[int, ...]) -> NetSpec | None:
        """The block at `slot` for these operators."""
        return _block(self, slot.name, self._canonical[options] if options else ())

    @cached_property
    def _canonical(self) -> dict[tuple[int, ...], tuple[int, ...]]:
        """Of every cell: `canonical` for one at a time takes longer than to build what it stands for."""
        every = list(product(range(len(OPERATORS)), repeat=len(EDGES)))
        canonical = self.canonical(np.array(every, dtype=np.int16)).tolist()
        return dict(zip(every, map(tuple, canonical), strict=True))

    def _shape(self, stage: int) -> Shape:
        return (WIDTHS[stage], RESOLUTION >> stage, RESOLUTION >> stage)

    def _stem(self, net: Builder) -> None:
        net.block = "stem"
        net.conv("stem", WIDTHS[0], kernel=3)

    def _head(self, net: Builder) -> None:
        net.block = "head"
        net.act("lastact", "relu")  # after a normalisation that folds into nothing: a scale and a shift of few values
        net.global_pool("pool")
        net.linear("classifier", self.classes)

    def _reduction(self, net: Builder, stage: int) -> None:
        """A residual block (He et al., CVPR 2016) of stride 2; its shortcut is a mean over 2 x 2, then 1 x 1."""
        net.block, width = f"reduction{stage}", WIDTHS[stage]
        entry = net.last
        net.act(f"{net.block}.act_a", "relu")
        net.conv(f"{net.block}.conv_a", width, kernel=3, stride=2, act="relu")
        inner = net.conv(f"{net.block}.conv_b", width, kernel=3)
        net.pool(f"{net.block}.pool", "avg_pool", 2, 2, source=entry)
        net.conv(f"{net.block}.shortcut", width, norm=False)
        net.add(f"{net.block}.add", inner)

    def _stage(self, net: Builder, stage: int, edges: tuple[int, ...]) -> None:
        net.block = f"stage{stage}"
        for number in range(CELLS):
            self._cell(net, f"stage{stage}.cell{number}", WIDTHS[stage], edges)

    def _cell(self, net: Builder, name: str, width: int, edges: tuple[int, ...]) -> None:
        entry = net.last
        nodes: list[int | None] = [entry, None, None, None]
        for edge, (a, b) in enumerate(EDGES):
            if edges[edge] == NONE:
                continue
            source, before = nodes[a], nodes[b]
            if source is None:  # a node without inputs
                source = nodes[a] = net.zero(f"{name}.zeros{a}", entry)
            value = self._edge(net, f"{name}.{a}{b}", width, edges[edge], source)
            nodes[b] = value if before is None else net.add(f"{name}.sum{b}.{a}", before, value)
        if nodes[3] is None:
            net.zero(f"{name}.zeros3", entry)
        elif nodes[3] != net.last or nodes[3] == entry:  # a block ends with its output
            net.act(f"{name}.out", "none", nodes[3])

    def _edge(self, net: Builder, name: str, width: int, operator: int, source: int) -> int:
        if operator == SKIP:
            return source
        if operator == AVG_POOL:
            return net.pool(f"{name}.pool", "avg_pool", 3, source=source)
        net.act(f"{name}.act", "relu", source)
        return net.conv(f"{name}.conv", width, kernel=1 if operator == CONV_1X1 else 3)


@lru_cache(maxsize=1 << 16)
def _block(space: NasBench201, name: str, options: tuple[int, ...]) -> NetSpec:
    stage = int(name[-1]) if name[-1].isdigit() else 0
    if name == "stem":
        net = Builder((space.in_channels, RESOLUTION, RESOLUTION))
        space._stem(net)
    elif name == "head":
        net = Builder(space._shape(len(WIDTHS) - 1))
        space._head(net)
    elif name.startswith("reduction"):
        net = Builder(space._shape(stage - 1))
        space._reduction(net, stage)
    else:
        net = Builder(space._shape(stage))
        space._stage(net, stage, options)
    return net.build()
