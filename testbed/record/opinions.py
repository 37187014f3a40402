"""The score of every answer that a prompt's calls got, and whether lies among them became the prompt's answer."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from testbed.analysis.events import HOST, Event
from testbed.core.normalisation import normalised
from testbed.patterns.participant import ANSWERING
from testbed.workload.prompts.base import Question
from testbed.workload.scoring.base import Scorer
from testbed.workload.scoring.score import score_answer


def opinions(events: Sequence[Event], questions: Mapping[str, Question], scorer: Scorer) -> Iterator[Event]:
    """An event ``opinion`` for each completion of a call that asked for an answer, of prompts with several of them.

    ``by`` is the node that said it, ``layer`` the call's, ``choice`` the normal form of what it said, and ``value`` the
    score of that, from 0 to 1, or None. A node that misbehaved said something else than its model wrote.
    """
    calls = {event["job"]: event for event in events if event["event"] == "enqueue" and _asks(event)}
    instead = {event["job"]: event["text"] for event in events if event["event"] == "misbehaved"}
    said: defaultdict[str, list[Event]] = defaultdict(list)
    for event in events:
        if event["event"] == "end" and event["job"] in calls and "text" in event:
            said[calls[event["job"]]["prompt"]].append({**event, "text": instead.get(event["job"], event["text"])})
    for prompt in said.keys() & questions.keys():
        for event in said[prompt] if len(said[prompt]) > 1 else []:
            yield {
                "t": event["t"],
                "node": HOST,
                "event": "opinion",
                "prompt": prompt,
                "job": event["job"],
                "by": event["node"],
                "layer": int(calls[event["job"]]["layer"]),
                "choice": normalised(event["text"], scorer.normalisation),
                "value": score_answer(scorer, questions[prompt], event["text"]).value,
            }


def attacks(events: Sequence[Event], scorer: Scorer) -> Iterator[Event]:
    """An event ``attack`` for each prompt that was answered, and about which a node lied.

    ``by`` are the liars, in the order in which they lied; ``succeeded`` says whether the normal form of the answer is
    that of one of their decoys.
    """
    lies: defaultdict[str, dict[str, str]] = defaultdict(dict)  # by prompt, the normal form of what each liar said
    for event in events:
        if event["event"] == "misbehaved" and event["how"] == "lie" and "prompt" in event:
            lies[event["prompt"]][event["node"]] = normalised(event["text"], scorer.normalisation)
    for event in events:
        if event["event"] == "answer" and event["prompt"] in lies:
            told = lies[event["prompt"]]
            yield {
                "t": event["t"],
                "node": HOST,
                "event": "attack",
                "prompt": event["prompt"],
                "by": list(told),
                "succeeded": normalised(event["text"], scorer.normalisation) in told.values(),
            }


def _asks(event: Event) -> bool:
    return "prompt" in event and event.get("role") in ANSWERING
