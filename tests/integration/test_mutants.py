"""Bugs that are put into the nodes on purpose: the shipped scenarios see each of them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from observed import FinishedRun, start

Mutant = Callable[[str, str, str], Path]


def _run(mutant: Path, scenario: str) -> FinishedRun:
    """Run a shipped scenario, which must fail. The host may have a single core."""
    directory = mutant / "run"
    options = ("--out", directory, "--set", "oversubscribe=true", "--fidelity", "off")
    process = start("run", f"scenarios/{scenario}", *options, project=mutant)
    output, _ = process.communicate()
    assert process.returncode == 1, output
    return FinishedRun(directory, process.returncode, output)


@pytest.mark.usefixtures("nothing_left")
def test_nodes_that_do_a_repeated_request_again(mutant: Mutant) -> None:
    """A member that stands still for a moment is asked twice, and then has both requests before it."""
    known = "return await self._within(seconds, job, content, self._jobs, partial(work, content))"
    copy = mutant("testbed/node/agent.py", known, "return _succeeded(await work(content))")
    run = _run(copy, "slow_member.yaml")
    assert any("again" in sentence for sentence in run.summary["invariants"])


@pytest.mark.usefixtures("nothing_left")
def test_nodes_that_wait_without_end(mutant: Mutant) -> None:
    """Who asks across a partition waits until it is healed."""
    deadline = "deadline = None if timeout is None else loop.time() + timeout"
    copy = mutant("testbed/node/calls/retry.py", deadline, "deadline = loop.time() + 3600")
    assert "latency.p99" in _run(copy, "partition.yaml").failed


@pytest.mark.usefixtures("nothing_left")
def test_nodes_that_lose_the_responses_that_they_get(mutant: Mutant) -> None:
    """Every layer waits for its timeout, and the owner answers alone."""
    read = '        message = message_name(name, "response", attempt)\n'
    copy = mutant("testbed/node/calls/asking.py", read, f"        await asyncio.sleep(3600)\n{read}")
    assert "latency.p95" in _run(copy, "gossip_moa.yaml").failed


@pytest.mark.usefixtures("nothing_left")
def test_nodes_that_check_no_signature(mutant: Mutant) -> None:
    """Whoever signs as another node is answered."""
    check = "if not hmac.compare_digest(tag(key, *parts), signature):"
    copy = mutant("testbed/node/transport/signing.py", check, "if False:")
    assert _run(copy, "impersonation.yaml").failed == ["forged"]


@pytest.mark.usefixtures("nothing_left")
def test_nodes_that_weigh_no_liar_down(mutant: Mutant) -> None:
    """Its confident lies win votes to the end."""
    weight = "weight=ballot.weight * trust_in(owner.record(ballot.by))"
    copy = mutant("testbed/patterns/horizontal/trust.py", weight, "weight=ballot.weight")
    assert "asr" in _run(copy, "liar.yaml").failed


@pytest.mark.usefixtures("nothing_left")
def test_nodes_that_mask_no_secret(mutant: Mutant) -> None:
    """Numbers leave the tier as they are."""
    copy = mutant("testbed/patterns/vertical/privacy.py", "text = re.sub(pattern,", "re.sub(pattern,")
    assert _run(copy, "private.yaml").failed == ["exposures"]
