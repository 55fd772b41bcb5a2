"""A device without a link: one robot's node and body, driven by hand.

For whoever wants the robot alone: the twin, calibration, benchmarks. The caller says what time it
is, and answers the robot's questions when it likes; nothing here reads a clock or draws randomness.
"""

from tierloop.contract.body import Embodiment, Reading
from tierloop.contract.effects import Send
from tierloop.contract.messages import ActionChunk, Observation, Sealed, Stored
from tierloop.contract.specs import FloatArray
from tierloop.device.config import DeviceConfig
from tierloop.device.node import DeviceNode

HEADER_BYTES = 256
"""What a message takes beside its array."""


class Unlinked:
    """One robot from time 0 on. Messages leave at once, segments are stored at once.

    `reading` is what the sensors said in the last tick.
    """

    reading: Reading

    def __init__(
        self, name: str, boot: int, robot: Embodiment, config: DeviceConfig, software: str
    ) -> None:
        self.node = DeviceNode(name, boot, robot, config, software)
        self._body, self._spec = robot.body, robot.policy
        self.node.on_start(0)

    def tick(self, now_ns: int) -> Observation | None:
        """One control tick: reads, chooses and limits, writes. Returns the question it asks."""
        node, body = self.node, self._body
        self.reading = body.read(now_ns)
        setpoint, effects = node.on_tick(now_ns, self.reading)
        body.write(setpoint)
        node.on_written(now_ns)
        asked = None
        for effect in effects:
            message = effect.message if isinstance(effect, Send) else None
            if isinstance(message, Observation):
                asked = message
                node.on_sent(now_ns, message, message.features.nbytes + HEADER_BYTES)
            elif isinstance(message, Sealed):
                node.on_sent(now_ns, message, message.body.nbytes + HEADER_BYTES)
                stored = Stored(device=node.name, boot=node.boot, below=message.seq + 1)
                node.on_message(now_ns, "edge", stored)
        return asked

    def answer(
        self, now_ns: int, asked: Observation, actions: FloatArray, policy_version: int = 0
    ) -> None:
        """The edge's answer to a question arrives: `actions` float32[H, A]."""
        chunk = ActionChunk.answering(asked, self._spec, actions, policy_version)
        self.node.on_message(now_ns, "edge", chunk)
