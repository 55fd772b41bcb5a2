"""What do types and checks cost a message? The codec beside untyped MessagePack of the same."""

from collections.abc import Callable
from functools import partial

import msgspec
import numpy as np

from tierloop.bench.protocol import Benchmark, Series, by_turns
from tierloop.benchmarks.rig.callgrind import counts, metric
from tierloop.benchmarks.rig.harness import main
from tierloop.benchmarks.rig.hot_worker import Work, cpu_us
from tierloop.benchmarks.rig.samples import messages
from tierloop.contract.budget import Metric
from tierloop.contract.codec import Codec
from tierloop.contract.messages import Message

CALLS, REPEATS = 20, 8

_KNOWN = messages()
TIMES = {name: Metric("codec", "us", name, "cpu") for name in _KNOWN}
SIZES = {name: Metric("wire_bytes", "B", name, "none") for name in _KNOWN}


def checked(message: Message) -> Work:
    """The codec there and back."""
    codec = Codec()
    return lambda: codec.decode(codec.encode(message))


def plain(message: Message) -> Work:
    """The same fields as raw bytes, packed and unpacked without a look at them."""
    fields = [_raw(getattr(message, name)) for name in message.__struct_fields__]
    encode, decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode
    return lambda: decode(encode(fields))


COUNTED = {
    metric("codec", name): (partial(checked, message), partial(plain, message))
    for name, message in _KNOWN.items()
}


def payload_bytes(message: Message) -> int:
    """What a message must carry: its arrays, and its other fields as MessagePack."""
    return len(
        msgspec.msgpack.encode([_raw(getattr(message, n)) for n in message.__struct_fields__])
    )


def _raw(value: object) -> object:
    return value.tobytes() if isinstance(value, np.ndarray) else value


def run(seconds: float) -> list[Series]:
    def measure(work: Work) -> Callable[[], list[float]]:
        cpu_us(work, CALLS, 2)
        return lambda: cpu_us(work, CALLS, REPEATS)

    works = [measure(kind(m)) for m in _KNOWN.values() for kind in (checked, plain)]
    blocks = by_turns(seconds, *works)
    codec = Codec()
    times = [Series(TIMES[name], blocks[2 * i], blocks[2 * i + 1]) for i, name in enumerate(_KNOWN)]
    sizes = [
        Series(
            SIZES[name], (np.array([float(len(codec.encode(message)))]),),
            (np.array([float(payload_bytes(message))]),), exact=True,
        )
        for name, message in _KNOWN.items()
    ]  # fmt: skip
    return times + counts("codec", COUNTED) + sizes


BENCHMARK = Benchmark(
    "codec",
    "What do types and checks cost a message, encoded and decoded, and how large is it?",
    "the same fields in untyped MessagePack, with no check",
    (*TIMES.values(), *COUNTED, *SIZES.values()),
    run,
)

if __name__ == "__main__":
    main(BENCHMARK)
