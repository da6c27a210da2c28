"""Contract suites: inherit one in a test and it proves a new part.

::

    from hwnas.testing import StrategyContract

    class TestMine(StrategyContract):
        def strategy(self) -> Strategy:
            return Mine()

A suite is a class of pytest tests; what it tests comes from the methods that raise `NotImplementedError` here.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwnas.core.additive import Additive, compile_additive
from hwnas.core.arch import Arch, ArchBatch, Choice, Genes
from hwnas.core.count import macs, params
from hwnas.core.genetics import sample
from hwnas.core.metrics import MACS, Floats, Metric, Prediction
from hwnas.core.net import NetSpec, Op
from hwnas.core.problem import Constraint, Problem, Trial
from hwnas.core.protocols import Device, DeviceModel, Estimator, Exporter, SearchSpace, Slot, Strategy

SAMPLES = 32
"""Random architectures a test looks at."""


class SpaceContract:
    """What every `SearchSpace` keeps."""

    def space(self) -> SearchSpace:
        """The space under test."""
        raise NotImplementedError

    def _batch(self, count: int = SAMPLES) -> ArchBatch:
        return sample(self.space(), count, np.random.default_rng(0))

    def test_id_is_versioned(self) -> None:
        version = self.space().id.rsplit("/", 1)[-1]
        assert version[0] == "v"
        assert version[1:].isdigit()

    def test_canonical_is_idempotent_and_leaves_its_input_alone(self) -> None:
        space, rng = self.space(), np.random.default_rng(1)
        genes = rng.integers(0, [len(choice) for choice in space.choices], (256, len(space.choices))).astype(np.int16)
        before = genes.copy()
        once = space.canonical(genes)
        np.testing.assert_array_equal(genes, before)
        np.testing.assert_array_equal(space.canonical(once), once)
        np.testing.assert_array_equal(once[~space.active(once)], 0)
        np.testing.assert_array_equal(space.active(once), space.active(genes))

    def test_inactive_genes_do_not_change_the_network(self) -> None:
        space, rng = self.space(), np.random.default_rng(2)
        genes = rng.integers(0, [len(choice) for choice in space.choices], (8, len(space.choices))).astype(np.int16)
        for raw, canonical in zip(ArchBatch(space.id, genes), ArchBatch(space.id, space.canonical(genes)), strict=True):
            assert space.lower(raw) == space.lower(canonical)

    def test_lower_is_the_blocks_of_the_slots_in_order(self) -> None:
        space = self.space()
        for arch in self._batch():
            whole = [block.key() for block in space.lower(arch).blocks().values()]
            assert whole == [block.key() for block in _slot_blocks(space, arch)]

    def test_compiled_sums_equal_direct_counts(self) -> None:
        space, batch = self.space(), self._batch()
        for count in (macs, params):
            compiled = compile_additive(space, count)(batch)
            direct = [count(space.lower(arch)) for arch in batch]
            np.testing.assert_array_equal(compiled, direct)

    def test_range_bounds_every_sample(self) -> None:
        cost = compile_additive(self.space(), macs)
        least, greatest = cost.range()
        values = cost(self._batch(256))
        assert least <= values.min()
        assert values.max() <= greatest
        assert macs(self.space().lower(cost.least())) == least

    def test_architectures_survive_json(self) -> None:
        for arch in self._batch(4):
            assert Arch.from_json(arch.to_json()) == arch


class DeviceContract:
    """What every `Device` keeps; `models` are at least two small ONNX files, or networks for a simulator."""

    samples = 10
    """The fewest of a measurement; a simulator has one."""

    def device(self) -> AbstractContextManager[Device]:
        """The open device under test."""
        raise NotImplementedError

    def models(self) -> Sequence[DeviceModel]:
        """Two or more models of different names."""
        raise NotImplementedError

    def test_every_model_is_measured_once(self) -> None:
        models = self.models()
        assert len(models) > 1
        with self.device() as device:
            names = [name for name, _ in device.measure(models)]
        assert sorted(names) == sorted(model.name for model in models)

    def test_samples_are_positive_and_many(self) -> None:
        with self.device() as device:
            for _, measurement in device.measure(self.models()):
                assert len(measurement.samples_ms) >= self.samples
                assert np.all(measurement.samples_ms > 0)
                assert measurement.median <= measurement.p90

    def test_groups_and_busy_seconds(self) -> None:
        with self.device() as device:
            assert device.group >= 1
            before = device.device_seconds
            list(device.measure(self.models()))
            assert device.device_seconds > before

    def test_it_says_what_it_is(self) -> None:
        with self.device() as device:
            assert device.name
            assert device.facts()

    def test_no_models_no_measurements(self) -> None:
        with self.device() as device:
            assert list(device.measure([])) == []


class EstimatorContract:
    """What every `Estimator` keeps."""

    def space(self) -> SearchSpace:
        """The space whose architectures it estimates."""
        raise NotImplementedError

    def estimator(self) -> Estimator:
        """A fitted estimator."""
        raise NotImplementedError

    def _batch(self) -> ArchBatch:
        return sample(self.space(), SAMPLES, np.random.default_rng(0))

    def test_one_finite_value_an_architecture(self) -> None:
        prediction = self.estimator().estimate(self._batch())
        for values in (prediction.median, prediction.p90, prediction.lower, prediction.upper):
            assert values.shape == (SAMPLES,)
            assert np.all(np.isfinite(values))

    def test_the_interval_holds_the_median(self) -> None:
        prediction = self.estimator().estimate(self._batch())
        assert np.all(prediction.lower <= prediction.median)
        assert np.all(prediction.median <= prediction.upper)

    def test_alone_or_in_a_batch_is_the_same(self) -> None:
        batch, estimator = self._batch(), self.estimator()
        together = estimator.estimate(batch)
        for row in range(3):
            alone = estimator.estimate(batch.take(np.array([row])))
            np.testing.assert_allclose(alone.median, together.median[row], rtol=1e-6)
            np.testing.assert_allclose(alone.p90, together.p90[row], rtol=1e-6)

    def test_an_empty_batch_is_no_error(self) -> None:
        batch = self._batch().take(np.zeros(0, dtype=np.intp))
        assert self.estimator().estimate(batch).median.shape == (0,)

    def test_the_metric_has_a_sense(self) -> None:
        assert self.estimator().metric.sense in ("min", "max")


class ToySpace:
    """Five positions of a 1 x 1 convolution, each skipped or of one of three widths inside: 4 ** 5 architectures."""

    id = "toy/v1"
    choices = tuple(Choice(f"width{i}", (0, 8, 16, 32)) for i in range(5))

    def active(self, genes: Genes) -> NDArray[np.bool_]:
        return np.ones(genes.shape, dtype=np.bool_)

    def canonical(self, genes: Genes) -> Genes:
        return genes.copy()

    def slots(self) -> tuple[Slot, ...]:
        return (Slot("stem", ()), *(Slot(choice.name, (i,)) for i, choice in enumerate(self.choices)))

    def block(self, slot: Slot, options: tuple[int, ...]) -> NetSpec | None:
        if not slot.genes:
            return NetSpec((8, 4, 4), (Op("conv", "stem", (-1,), 8, (8, 4, 4), block="stem"),))
        width = self.choices[slot.genes[0]].options[options[0]]
        if width == 0:
            return None
        up = Op("conv", f"{slot.name}.up", (-1,), 8, (width, 4, 4), block=slot.name)
        down = Op("conv", f"{slot.name}.down", (0,), width, (8, 4, 4), block=slot.name)
        return NetSpec((8, 4, 4), (up, down))

    def lower(self, arch: Arch) -> NetSpec:
        ops: list[Op] = []
        for block in _slot_blocks(self, arch):
            start = len(ops)
            for op in block.ops:
                inputs = tuple(start - 1 if i == -1 else i + start for i in op.inputs)
                ops.append(Op(op.kind, op.name, inputs, op.in_channels, op.out_shape, block=op.block))
        return NetSpec((8, 4, 4), tuple(ops))


class ExactCost:
    """An estimator that is an additive cost: exact, with an interval of no width."""

    def __init__(self, cost: Additive, metric: Metric = MACS) -> None:
        self.cost = cost
        self.metric = metric

    def estimate(self, batch: ArchBatch) -> Prediction:
        values = self.cost(batch)
        return Prediction(values, values, values, values)


class WeightedGenes:
    """An evaluator that a search can only climb: a weighted sum of genes, so that better costs more."""

    def evaluate(self, batch: ArchBatch) -> Floats:
        weights = np.random.default_rng(7).uniform(0.5, 1.0, batch.genes.shape[1])
        return np.asarray(batch.genes @ weights, dtype=np.float64)


class StrategyContract:
    """What every `Strategy` keeps, shown on `ToySpace`."""

    budget = 200

    def strategy(self) -> Strategy:
        """The strategy under test, with any settings."""
        raise NotImplementedError

    def problem(self, at_most: float | None = None) -> Problem:
        """The best weighted genes in half of the reachable MACs."""
        space = ToySpace()
        cost = compile_additive(space, macs)
        least, greatest = cost.range()
        limit = (least + greatest) / 2 if at_most is None else at_most
        return Problem(space, WeightedGenes(), (Constraint(ExactCost(cost), limit),), self.budget)

    def _trials(self, problem: Problem, seed: int = 0) -> list[Trial]:
        return list(self.strategy().search(problem, np.random.default_rng(seed)))

    def test_proposes_only_what_is_feasible(self) -> None:
        problem = self.problem()
        archs = [trial.arch for trial in self._trials(problem)]
        assert archs
        assert problem.feasible(ArchBatch.of(archs)).all()

    def test_respects_the_budget(self) -> None:
        problem = self.problem()
        trials = self._trials(problem)
        assert problem.trials <= self.budget
        assert len(trials) == problem.trials
        assert [trial.number for trial in trials] == list(range(len(trials)))

    def test_equal_seeds_equal_searches(self) -> None:
        assert self._trials(self.problem(), seed=3) == self._trials(self.problem(), seed=3)

    def test_other_seeds_other_searches(self) -> None:
        assert self._trials(self.problem(), seed=3) != self._trials(self.problem(), seed=4)

    def test_ends_where_nothing_is_feasible(self) -> None:
        assert self._trials(self.problem(at_most=0.0)) == []

    def test_ends_where_one_architecture_is_feasible(self) -> None:
        least, _ = compile_additive(ToySpace(), macs).range()
        trials = self._trials(self.problem(at_most=least))
        assert {trial.arch for trial in trials} <= {compile_additive(ToySpace(), macs).least()}

    def test_is_no_worse_than_a_tenth_of_random_draws(self) -> None:
        problem = self.problem()
        draws = sample(problem.space, 2000, np.random.default_rng(9))
        scores = problem.evaluator.evaluate(draws.take(problem.feasible(draws)))
        assert max(trial.score for trial in self._trials(problem)) >= np.quantile(scores, 0.9)


class ExporterContract:
    """What every `Exporter` keeps; `case` gives a network, its torch module and images N x C x H x W (float32)."""

    tolerance = 1e-4

    def exporter(self) -> Exporter:
        """The exporter under test."""
        raise NotImplementedError

    def case(self) -> tuple[NetSpec, Any, NDArray[np.float32]]:
        """A network, the module that computes it, and a few images."""
        raise NotImplementedError

    def test_the_file_computes_what_the_module_does(self, tmp_path: Path) -> None:
        net, module, images = self.case()
        path = tmp_path / "model"
        self.exporter().export(net, module, path, {"origin": "contract"})
        assert self.exporter().verify(path, module, images) <= self.tolerance

    def test_the_file_is_whole_and_alone(self, tmp_path: Path) -> None:
        net, module, _ = self.case()
        self.exporter().export(net, module, tmp_path / "model", {})
        assert [file.name for file in tmp_path.iterdir()] == ["model"]
        assert (tmp_path / "model").stat().st_size > 0

    def test_equal_modules_equal_files(self, tmp_path: Path) -> None:
        net, module, _ = self.case()
        for name in ("a", "b"):
            self.exporter().export(net, module, tmp_path / name, {"origin": "contract"})
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()

    def test_another_module_is_noticed(self, tmp_path: Path) -> None:
        net, module, images = self.case()
        self.exporter().export(net, module, tmp_path / "model", {})
        assert self.exporter().verify(tmp_path / "model", module, images) < self.exporter().verify(
            tmp_path / "model", _Negated(module), images
        )


class _Negated:
    """A module whose outputs have the other sign."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.training = False

    def __call__(self, images: Any) -> Any:
        return -self.module(images)

    def eval(self) -> _Negated:
        self.module.eval()
        return self

    def train(self, mode: bool = True) -> _Negated:
        self.module.train(mode)
        return self


def _slot_blocks(space: SearchSpace, arch: Arch) -> list[NetSpec]:
    blocks = (space.block(slot, tuple(arch.genes[gene] for gene in slot.genes)) for slot in space.slots())
    return [block for block in blocks if block is not None]
