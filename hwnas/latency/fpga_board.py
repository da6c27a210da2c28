"""`Board`: what a person writes about an accelerator on an FPGA."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt, ValidationError, model_validator

from hwnas.core.errors import InputError, wrong_key


class Unroll(BaseModel):
    """A fixed array of multipliers, as overlays have it: rows of pixels x input channels x output channels a cycle."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: PositiveInt = 1
    inputs: PositiveInt
    outputs: PositiveInt

    @property
    def macs(self) -> int:
        """Multiply-accumulates a cycle."""
        return self.rows * self.inputs * self.outputs


class Lanes(BaseModel):
    """What computes pools, means and elementwise operators, and a shared array's depthwise convolutions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: PositiveInt = 1
    channels: PositiveInt = 16
    """Of output pixels, side by side: rows x channels each cycle."""
    line_buffers: bool = True
    """Whether a pool takes its whole window each cycle, out of line buffers (Qiu et al., "Going deeper with
    embedded FPGA platform", FPGA 2016); else one value of it. A depthwise convolution always takes one."""


class Board(BaseModel):
    """An accelerator on an FPGA: its parts, and how the layers of a network share them.

    `sharing` says who computes what, and when:

    - ``pipeline``: each layer has a processing element of its own, with multipliers in proportion to its work; tiles go
      from one to the next on the chip, and all work at once (FNAS, arXiv 1901.11211).
    - ``engines``: one array of multipliers takes the convolutions in turn, the lanes take everything else, and both
      work at once where tiles are ready (Xilinx's DPU, PG338).
    - ``turns``: the same, but one layer after the other (Zhang et al., FPGA 2015). So it is for one image where several
      such arrays work side by side on different images, as in Shen et al., ISCA 2017.

    Without an `unroll` the array is chosen for the network: for each layer of a pipeline, or for all layers together
    (Zhang et al., section 3).

    `reuse` is the order of a layer's tasks (FNAS-Sched): ``output`` finishes an output tile before the next,
    ``input`` uses an input tile for all output tiles, ``alternate`` changes from layer to layer.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    clock_mhz: PositiveFloat
    dsps: PositiveInt
    macs_per_dsp: PositiveFloat = 1.0
    """Multiply-accumulates of one DSP slice in a cycle of `array_clock_mhz`: below one for floats (Zhang et al.: five
    slices each), above one where a slice packs two products or runs at a multiple of the clock."""
    array_clock_mhz: PositiveFloat | None = None
    """Of the multipliers, where it is not `clock_mhz`."""
    bandwidth_gb_s: PositiveFloat
    """Of the external memory, 1e9 bytes a second, reads and writes together."""
    on_chip_bytes: PositiveInt
    """Half of it holds values and half weights."""
    bits_per_value: Literal[8, 16, 32]
    sharing: Literal["pipeline", "engines", "turns"] = "pipeline"
    reuse: Literal["alternate", "output", "input"] = "alternate"
    unroll: Unroll | None = None
    lanes: Lanes = Lanes()
    keep_on_chip: bool = True
    """Whether a value stays on the chip until its last reader where there is room, as in the DPU; else each layer reads
    from and writes to the external memory, as in Zhang et al. A pipeline always hands over on the chip."""
    tile: PositiveInt | None = None
    """The most rows and columns of a tile; without it as many as on-chip memory holds."""
    batch: PositiveInt = 1
    """Images in step on as many accelerators like this one, which share the memory and what they fetch of weights."""

    @model_validator(mode="after")
    def _possible(self) -> Board:
        if self.macs < 1:
            raise ValueError(f"{self.dsps} DSPs of {self.macs_per_dsp:g} multiply-accumulates are less than one")
        if self.unroll is not None and self.sharing == "pipeline":
            raise ValueError("an unroll is of one array for all layers: leave it out, or set sharing = 'turns'")
        if self.unroll is not None and self.unroll.macs > self.macs:
            raise ValueError(f"an unroll of {self.unroll.macs} is more than {self.macs} multiply-accumulates a cycle")
        return self

    @property
    def macs(self) -> int:
        """Multiply-accumulates a cycle, of all processing elements together."""
        return int(self.dsps * self.macs_per_dsp)

    @property
    def bytes_per_value(self) -> int:
        return self.bits_per_value // 8

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Board:
        """A board from the keys of a file.

        Raises:
            InputError: a key is unknown or missing, or a value is wrong.
        """
        try:
            return cls.model_validate(dict(settings))
        except ValidationError as error:
            raise InputError(f"fpga_tiles: {wrong_key(error.errors()[0], 'the board')}") from error
