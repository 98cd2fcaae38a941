"""What the programs here share: the device, times of calls, and the lines of results.

A time is that of one call in a CUDA graph that is replayed, as for our own kernels (kernels/bench.h); without a GPU,
in a rehearsal, of a call in a loop.
"""
import json
import os
import statistics
import time

import torch

REHEARSAL = os.environ.get("DEVICE", "cuda") != "cuda"
DEVICE = torch.device("cpu" if REHEARSAL else "cuda")
COLD_BYTES = 320 << 20  # more than this in turn is not in the L2 cache any more


def report(who, us=None, low=None, high=None, **fields):
    """Appends a result to $RESULTS and prints it. `us`: microseconds of one call; `error`: why there is none."""
    line = {"who": who, **fields}
    if us is not None:
        line |= {"us": us, "low": low, "high": high}
    text = json.dumps(line)
    print(text, flush=True)
    if os.environ.get("RESULTS"):
        with open(os.environ["RESULTS"], "a", encoding="utf-8") as file:
            file.write(text + "\n")


def spread(times):
    """The median and the quartiles."""
    ordered = sorted(times)
    return statistics.median(ordered), ordered[len(ordered) // 4], ordered[len(ordered) * 3 // 4]


def time_calls(call, count):
    """Microseconds of one of call(0) ... call(count - 1): median and quartiles over replays."""
    if REHEARSAL:
        call(0)
        begun = time.perf_counter()
        call(0)
        passed = (time.perf_counter() - begun) * 1e6
        return passed, passed, passed
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):  # handles, workspaces and what else is made once
            call(0)
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for i in range(count):
            call(i)
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)

    def replay():
        begin.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end) * 1000 / count

    first = max(replay() * count, 1.0)
    replays = int(min(max(0.25e6 / first, 7), 101))
    for _ in range(replays // 4):
        replay()
    return spread([replay() for _ in range(replays)])


def measure(who, call, count, **fields):
    """Times the calls and reports them; a peer that cannot be run here is reported with its error."""
    try:
        with torch.inference_mode():
            us, low, high = time_calls(call, count)
    except Exception as error:  # noqa: BLE001: whatever a library throws, the other peers still run
        torch.cuda.empty_cache() if not REHEARSAL else None
        report(who, error=f"{type(error).__name__}: {str(error)[:200]}", **fields)
        return
    report(who, us, low, high, **fields)


def random_bf16(*shape, deviation=1.0):
    return (torch.randn(shape, device=DEVICE, dtype=torch.float32) * deviation).to(torch.bfloat16)
