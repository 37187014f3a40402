from testbed_right_answers import right_answers

from testbed.analysis.measurements import Measurements, Part


def test_right_answers_are_counted_by_their_score() -> None:
    events = []
    for prompt, value in (("p1", 1.0), ("p2", 0.5), ("p3", 0.0)):
        events += [
            {"t": 0.0, "node": "", "event": "prompt", "prompt": prompt, "owner": "a"},
            {"t": 6.0, "node": "a", "event": "answer", "prompt": prompt, "text": "Rome"},
            {"t": 6.0, "node": "", "event": "score", "prompt": prompt, "value": value},
        ]
    assert right_answers(Part(Measurements(events, {}))) == (1.5 / 6.0, None)


def test_there_are_no_right_answers_without_play() -> None:
    assert right_answers(Part(Measurements([], {}))) == (None, None)
