"""Where subnets are measured: in this process, in several on this machine, or on a Ray cluster."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

import torch

from hwnas.core.errors import InputError
from hwnas.pipeline.judge import Asked, Hits, Judge

WORTH_A_PROCESS = 20
"""Subnets that take about as long as a process that imports torch takes to start."""

ANSWER_SECONDS = 5.0
"""Time that a cluster far away has to take a connection."""
RETRIES = 3
"""Of a subnet whose machine went away."""

Spread = Callable[[Judge, Sequence[Asked]], Iterator[tuple[Asked, Hits]]]
"""Gives each subnet with its hits, as they come."""


def local(judge: Judge, asked: Sequence[Asked]) -> Iterator[tuple[Asked, Hits]]:
    """Measured on this machine: a process a core where that is worth starting processes."""
    # As many subnets at a time as torch would use threads, where they are worth the processes.
    workers = min(torch.get_num_threads(), len(asked) // WORTH_A_PROCESS)
    if workers <= 1:
        yield from ((one, judge.hits(one)) for one in asked)
        return
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    with ProcessPoolExecutor(workers, context, _start_worker, (judge,)) as pool:
        futures = {pool.submit(_ask_worker, one): one for one in asked}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


_judge: Judge | None = None
"""A worker's own, so that weights and images travel once and not with every subnet."""


def _start_worker(judge: Judge) -> None:
    global _judge
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers
    torch.set_num_threads(1)
    _judge = judge
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """A killed parent leaves no orphan."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _ask_worker(asked: Asked) -> Hits:
    assert _judge is not None
    return _judge.hits(asked)


def over_ray(address: str) -> Spread:
    """Measured by one task a core of a Ray cluster: at `address`, "auto" for one that runs here, or "local".

    Raises:
        InputError: Ray is missing, or there is no such cluster.
    """
    try:
        import ray
    except ImportError as error:
        raise InputError("measuring on a Ray cluster needs Ray: run 'pip install hwnas[ray]'") from error

    def spread(judge: Judge, asked: Sequence[Asked]) -> Iterator[tuple[Asked, Hits]]:
        if not asked:
            return
        if not ray.is_initialized():
            try:
                _knock(address)
                ray.init(address, log_to_driver=False, include_dashboard=False if address == "local" else None)
            except OSError as error:
                raise InputError(f"no Ray cluster answers at {address}: start one, or name local") from error
        task: Any = ray.remote(max_retries=RETRIES)(_judged)
        held = ray.put(judge)
        waiting = {task.remote(held, one): one for one in asked}
        try:
            while waiting:
                [done], _ = ray.wait(list(waiting), num_returns=1)
                yield waiting.pop(done), ray.get(done)
        finally:
            for reference in waiting:
                ray.cancel(reference, force=True)

    return spread


def _knock(address: str) -> None:
    """Ray itself waits for minutes where nobody answers.

    Raises:
        OSError: nobody does.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS).close()


def _judged(judge: Judge, asked: Asked) -> Hits:
    torch.set_num_threads(1)
    return judge.hits(asked)
