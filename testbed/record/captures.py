"""The links of a run that are listened to during play: their frames, and which prompts can be read in them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from testbed.analysis.eavesdropping import readable
from testbed.record.directory import RunDirectory
from testbed.record.recording import Recording
from testbed.world.network.capture import Capture
from testbed.world.world import World


@contextmanager
def capturing(world: World, recording: Recording, directory: RunDirectory) -> Iterator[None]:
    """Record the links that the scenario names, in ``captures/LINK.pcapng``, for as long as the context lasts."""
    names = world.plan.scenario.capture
    folder = directory.path / "captures"
    if names:
        folder.mkdir(exist_ok=True)
    captures: dict[str, Capture] = {}
    try:
        with ExitStack() as stack:
            for name in names:
                capture = Capture(world.links.find(name), folder / f"{name}.pcapng")
                captures[name] = stack.enter_context(capture)
            yield
    finally:
        for name, capture in captures.items():
            _tell(name, capture, recording)


def _tell(name: str, capture: Capture, recording: Recording) -> None:
    texts = {prompt: question.text for prompt, question in recording.questions.items()}
    recording.emit(
        "captured",
        link=name,
        frames=capture.frames,
        missed=capture.missed,
        bytes=capture.path.stat().st_size,
        prompts=sorted(texts),
        readable=sorted(readable(capture.path, texts)),
    )
