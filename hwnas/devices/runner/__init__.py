"""Measures ONNX models on the machine it runs on: a package of its own (Python 3.8+, numpy, onnxruntime).

It answers framed requests on stdin with framed answers on stdout, so the same code serves a local child process
(``python -m hwnas.devices.runner``) and a far device behind any byte pipe, which gets it as one archive (`archive`).
Requests (header key "do"; `frames` says what a frame is):

    probe                               what this machine is
    configure  cores                    pin this process to these cores
    load       name threads seed + body an ONNX model: make a session and its input
    measure    names rules seed fastest_mhz    warm up, then sample in interleaved rounds -> float64 samples as body
    look                                how hot it is
    memory     threads + body           peak bytes of a process of its own that loads and runs the model
    energy     name seconds             joules a run, from the machine's own counters
    unload     names                    drop sessions
    quit

Every answer has "ok"; a failure carries "error" and leaves the runner alive. A frame whose checksum is wrong is
answered with an error; one without the magic means that the stream is out of step, and ends the runner.

Why the measurements are as they are:

- Settings: one inter-operator thread and sequential execution (the models are chains; nothing runs side by side), all
  graph optimisations (what a deployment uses), spinning left at onnxruntime's default, intra-operator threads as asked.
- A sample is `time.perf_counter_ns` around one `session.run` from Python with the input made beforehand and the garbage
  collector off: what a caller waits for, the call's own few microseconds included.
- Warm-up runs in windows until the medians of two windows in a row agree within a tolerance (bounded in time).
- Samples come in rounds; a round visits every model once, in an order drawn anew, for a short burst. A slow spell of a
  shared machine so falls on all models alike instead of on one. The first runs of a burst are untimed: they refill the
  caches that the previous model took, and a deployed model runs on end.
- device_seconds counts session creation, warm-up and the bursts: what the device was busy for.
- The runner ignores SIGINT (its parent decides) and leaves, even in mid-measurement, when its stdin closes, so that a
  killed parent leaves no orphan.
"""

from .frames import ClosedError, Frame, FrameError, StreamError, encode_frame, read_frame

__all__ = ["ClosedError", "Frame", "FrameError", "StreamError", "encode_frame", "read_frame"]
