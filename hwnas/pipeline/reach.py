"""Is a limit within reach at all? Answered before anything long is begun."""

from __future__ import annotations

import numpy as np

from hwnas.core.additive import compile_additive
from hwnas.core.arch import Arch, ArchBatch
from hwnas.core.count import macs
from hwnas.core.errors import InfeasibleError
from hwnas.core.protocols import DeviceModel, SearchSpace
from hwnas.devices.simulated import SimulatedDevice
from hwnas.latency.in_use import LatencyInUse
from hwnas.pipeline.names import network_name
from hwnas.pipeline.opening import AnyDevice, form_for

HOPELESS = 0.5
"""Without a model, a limit under half the p90 of the network with the fewest MACs is refused: a least latency that far
below the least-MACs network's is not seen in these spaces, where the two are the same network or nearly so."""
DOUBT = 0.9
"""With a model, a limit under 90% of the least predicted p90 is refused; what is nearer is tried on the device."""


def refuse_hopeless(device: AnyDevice, space: SearchSpace, model: LatencyInUse | None, limit_ms: float) -> None:
    """Raise InfeasibleError, with the reachable range, where `limit_ms` is out of reach on this device."""
    if model is not None:
        least, most = model.reachable("p90")
        nearest, doubt = model.least("p90"), DOUBT
    else:
        count = compile_additive(space, lambda net: float(macs(net)))
        nearest = count.least()
        least, most = _measured_p90(device, space, [nearest, count.greatest()])
        doubt = HOPELESS
    if limit_ms < doubt * least:
        raise InfeasibleError(
            f"{limit_ms:g} ms cannot be met on {device.name}: p90s from {least:.3g} to {most:.3g} ms are reachable; "
            f"ask for --latency {_round_up(least):g}ms or more",
            {"latency_ms": (least, most)},
            {"arch": nearest.to_json(), "latency_ms": {"p90": least}},
            simulated=isinstance(device, SimulatedDevice),
        )


def _measured_p90(device: AnyDevice, space: SearchSpace, archs: list[Arch]) -> tuple[float, float]:
    form = form_for(device)
    models = [DeviceModel.of(network_name(arch), form(space.lower(arch))) for arch in ArchBatch.of(archs)]
    measured = dict(device.measure(models))
    first, second = (measured[model.name].p90 for model in models)
    return first, second


def _round_up(value_ms: float) -> float:
    """The next limit with two digits above a latency and 10% on top."""
    digits = int(np.floor(np.log10(value_ms))) - 1
    return float(np.ceil(1.1 * value_ms / 10.0**digits) * 10.0**digits)
