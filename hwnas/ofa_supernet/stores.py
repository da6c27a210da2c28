"""Where training images lie: small sets in the memory of the device that trains, large ones in their files."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hwnas.core.images import Images
from hwnas.ofa_supernet.data import Split
from hwnas.ofa_supernet.pictures import FileSplit, Pictures

Rows = NDArray[np.int64]


class Store(Protocol):
    """N stored images of one size."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        ...

    def take(self, rows: Rows) -> Tensor:
        """The images at `rows`: n x C x H x W bytes, where the training runs."""
        ...

    def expect(self, rows: Rows) -> None:
        """These will be asked for next."""
        ...


class InMemory:
    """All images on the device."""

    def __init__(self, images: Images, device: torch.device) -> None:
        self._images = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).to(device)
        self.size = (images.shape[1], images.shape[2])

    def take(self, rows: Rows) -> Tensor:
        return self._images[torch.from_numpy(rows).to(self._images.device)]

    def expect(self, rows: Rows) -> None:
        return


class InFiles:
    """Images that are decoded for each step, those of the next one while a step runs."""

    def __init__(self, pictures: Pictures, device: torch.device) -> None:
        self._pictures = pictures
        self._device = device
        self._ahead: tuple[Rows, Future[Images]] | None = None
        self._thread = ThreadPoolExecutor(1)
        self._step: tuple[Rows, Images] | None = None
        self.size = (pictures.size, pictures.size)

    def take(self, rows: Rows) -> Tensor:
        """Errors as of the pictures: a file that is missing or damaged."""
        if self._ahead is not None:
            expected, future = self._ahead
            self._step, self._ahead = (expected, future.result()), None
        place = {} if self._step is None else {int(row): at for at, row in enumerate(self._step[0])}
        if self._step is None or any(int(row) not in place for row in rows):
            self._step = (rows, self._pictures.at(rows))
            place = {int(row): at for at, row in enumerate(rows)}
        images = self._step[1][[place[int(row)] for row in rows]]
        return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).to(self._device)

    def expect(self, rows: Rows) -> None:
        self._ahead = (rows, self._thread.submit(self._pictures.at, rows))


def store_of(split: Split | FileSplit, device: torch.device) -> Store:
    """Wherever the images of a split are."""
    if isinstance(split, FileSplit):
        return InFiles(split.images, device)
    return InMemory(split.images, device)
