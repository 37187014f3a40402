"""Kinds of other packages and of single files: found, loaded once, and refused in one sentence where they are wrong."""

import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from testbed import cli
from testbed.core.errors import SpecError
from testbed.core.registry import FileOrigin, KindError, PackageOrigin, Registry, load_from_file
from testbed.schema.expectation import ExpectationEntry
from testbed.schema.fault import ENTRY_KEYS, FAULTS, Fault
from testbed.schema.metric import METRICS
from testbed.schema.scenario import json_schema
from testbed.workload.scoring.base import SCORERS, Scorer

OVERLAP = """\
from testbed.workload.scoring.base import Scorer


class Overlap(Scorer):
    \"\"\"Half right, whatever the answer.\"\"\"

    share: float = 0.5

    def score(self, question, answer):
        return self.share
"""

QUORUM = """\
from testbed.patterns.base import Pattern


class Quorum(Pattern):
    \"\"\"The owner alone.\"\"\"

    votes: int = 2

    async def answer(self, prompt, owner):
        return prompt.text


class Stranger:
    \"\"\"No pattern.\"\"\"
"""

WORKLOAD = """\
from itertools import count

from testbed.workload.arrivals.base import OpenLoop
from testbed.workload.prompts.base import PromptSource, Question
from testbed.workload.scoring.base import Scorer


class One(PromptSource):
    def questions(self, count, seed):
        return [Question("1 + 1?", "2")] * count


class Regular(OpenLoop):
    def times(self, rate, generator):
        return (number / rate for number in count(1))


class Overlap(Scorer):
    def score(self, question, answer):
        return 0.5
"""

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Put a distribution on the path: ``install("package", "group", "name = module:Object", module="its code")``."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)

    def install_package(package: str, group: str, *points: str, **modules: str) -> None:
        metadata = site / f"{package}-1.2.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        (metadata / "entry_points.txt").write_text("\n".join([f"[{group}]", *points]))
        for name, code in modules.items():
            (site / f"{name}.py").write_text(code)
        _forget()

    yield install_package
    for module in site.glob("*.py"):
        sys.modules.pop(module.stem, None)
    monkeypatch.undo()
    _forget()


def _forget() -> None:
    """Let the registries look again at what is installed; in a process that does not test them, that cannot change."""
    for known in (SCORERS, FAULTS, METRICS):
        known.__dict__.pop("_points", None)
        known._loaded.clear()


@pytest.fixture
def scorers() -> Registry[type[Scorer]]:
    return Registry("tests.scorers", "scorer", Scorer)


def _sentence(error: BaseException) -> str:
    """The message of ``error``, which is one line."""
    (line,) = str(error).splitlines()
    return line


# --- packages ---------------------------------------------------------------------------------------------------------


def test_a_kind_of_a_package_is_named_without_being_imported(install: Install, scorers: Any) -> None:
    install("half", "tests.scorers", "half = half_module:Overlap", half_module=OVERLAP)
    assert scorers.names() == ["half"]
    assert "half_module" not in sys.modules
    assert scorers.get("half")(scorer="half").score(None, "") == 0.5
    assert scorers.origin("half") == PackageOrigin("half", "1.2", "half_module:Overlap")


def test_two_packages_with_one_name_are_refused_and_both_are_named(install: Install, scorers: Any) -> None:
    install("first", "tests.scorers", "half = first_module:Overlap", first_module=OVERLAP)
    install("second", "tests.scorers", "half = second_module:Overlap", second_module=OVERLAP)
    for ask in (scorers.get, scorers.origin):
        with pytest.raises(KindError) as refused:
            ask("half")
        assert "first" in _sentence(refused.value)
        assert "second" in _sentence(refused.value)
        assert refused.value.exit_code == 2
    assert not {"first_module", "second_module"} & set(sys.modules)


@pytest.mark.parametrize(
    ("code", "reason"),
    [("import no_such_module", "ModuleNotFoundError"), ("def", "SyntaxError"), ("raise RuntimeError('no')", "no")],
)
def test_a_package_that_cannot_be_imported_fails_only_when_it_is_needed(
    install: Install, scorers: Any, code: str, reason: str
) -> None:
    install("broken", "tests.scorers", "broken = broken_module:Overlap", broken_module=code)
    install("half", "tests.scorers", "half = half_module:Overlap", half_module=OVERLAP)
    assert scorers.names() == ["broken", "half"]
    assert issubclass(scorers.get("half"), Scorer)
    with pytest.raises(KindError, match=r"broken 1\.2 cannot be imported") as refused:
        scorers.get("broken")
    assert reason in _sentence(refused.value)


def test_a_kind_that_does_not_derive_from_its_contract_is_refused(install: Install, scorers: Any) -> None:
    install("stranger", "tests.scorers", "stranger = stranger_module:Stranger", stranger_module=QUORUM)
    with pytest.raises(KindError, match="'stranger' is not a scorer: it does not derive from Scorer") as refused:
        scorers.get("stranger")
    assert _sentence(refused.value)


@pytest.mark.parametrize("name", ENTRY_KEYS)
def test_a_fault_cannot_have_the_name_of_another_key_of_an_entry(install: Install, name: str) -> None:
    install("clumsy", "tests.faults", f"{name} = nowhere:Nothing")
    faults: Registry[type[Fault]] = Registry("tests.faults", "fault", Fault, reserved=ENTRY_KEYS)
    with pytest.raises(KindError, match=f"clumsy: '{name}' cannot name a fault") as refused:
        faults.names()
    assert _sentence(refused.value)


@pytest.mark.parametrize(
    "key", [key for name, field in ExpectationEntry.model_fields.items() for key in (name, field.alias) if key]
)
def test_a_metric_cannot_have_the_name_of_another_key_of_an_expectation(install: Install, key: str) -> None:
    install("clumsy", "testbed.metrics", f"{key} = nowhere:nothing")
    with pytest.raises(KindError, match=f"clumsy: '{key}' cannot name a metric"):
        METRICS.names()


def test_what_there_is_instead_is_said_of_a_name_that_there_is_not(scorers: Any, install: Install) -> None:
    install("half", "tests.scorers", "half = half_module:Overlap", half_module=OVERLAP)
    with pytest.raises(KindError, match="there is no scorer 'whole'; known are half"):
        scorers.get("whole")


# --- scenarios that name a package's kind -----------------------------------------------------------------------------


def _validate(path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code of ``testbed validate`` and the one line that it prints."""
    monkeypatch.setattr(sys, "argv", ["testbed", "validate", str(path)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    captured = capsys.readouterr()
    (line,) = (captured.out + captured.err).splitlines()
    assert isinstance(end.value.code, int)
    return end.value.code, line


def test_a_scenario_names_a_scorer_of_a_package(files: Any, install: Install) -> None:
    install("half", "testbed.scorers", "half = half_module:Overlap", half_module=OVERLAP)
    scenario = files.load("workload.scorer={scorer: half, share: 0.25}")
    assert scenario.workload.scorer.score(None, "") == 0.25


def test_only_the_scenario_that_names_a_broken_package_is_wrong(
    files: Any, install: Install, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install("broken", "testbed.scorers", "broken = broken_module:Overlap", broken_module="import no_such_module")
    code, line = _validate(files.write(), monkeypatch, capsys)
    assert (code, line.endswith(": valid")) == (0, True)
    path = files.write(files.scenario.replace("  count: 6", "  count: 6\n  scorer: broken"))
    code, line = _validate(path, monkeypatch, capsys)
    assert code == 2
    assert line.startswith(f"{path}:9: workload.scorer: scorer 'broken' of broken 1.2 cannot be imported: ")


def test_the_schema_has_the_options_of_a_packages_kind_and_leaves_broken_ones_out(install: Install) -> None:
    install("half", "testbed.scorers", "half = half_module:Overlap", half_module=OVERLAP)
    install("broken", "testbed.scorers", "broken = broken_module:Overlap", broken_module="import no_such_module")
    schema = json.dumps(json_schema())
    assert '"const": "half"' in schema
    assert '"share"' in schema
    assert '"const": "broken"' not in schema


def _admits(schema: Any, reference: str) -> bool:
    """Whether ``schema`` allows a mapping whose kind is ``reference``, with any further options."""
    objects = [one for one in schema["anyOf"] if one.get("additionalProperties", True) and "properties" in one]
    patterns = [key.get("pattern", "^$") for one in objects for key in one["properties"].values()]
    return any(re.search(pattern, reference) for pattern in patterns)


def test_the_schema_admits_kinds_of_files_wherever_a_kind_is_named() -> None:
    schema = json_schema()
    workload = schema["$defs"]["Workload"]["properties"]
    for field in (schema["properties"]["pattern"], *(workload[key] for key in ("prompts", "arrivals", "scorer"))):
        assert _admits(field, "./mine.py:Mine")
        assert not _admits(field, "no-such-kind")
    for definition in ("Entry", "Expectation"):
        (pattern,) = schema["$defs"][definition]["patternProperties"]
        assert re.search(pattern, "./mine.py:Mine")
        assert not re.search(pattern, "no-such-kind")


# --- single files -----------------------------------------------------------------------------------------------------


def _load(files: Any, reference: str) -> Any:
    return files.load(f"pattern={{kind: '{reference}'}}")


def _naming(files: Any, reference: str) -> Path:
    """The path of a scenario that names ``reference`` in its fourth line."""
    written = "pattern: {kind: gossip-moa, layers: 1, proposers: 1, timeout: 2s}"
    assert files.scenario.splitlines()[3] == written
    path: Path = files.write(files.scenario.replace(written, f'pattern: {{kind: "{reference}"}}'))
    return path


def test_a_file_is_found_from_the_directory_of_the_scenario(
    files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "patterns").mkdir()
    (tmp_path / "patterns" / "quorum.py").write_text(QUORUM)
    monkeypatch.chdir("/")
    pattern = files.load("pattern={kind: './patterns/quorum.py:Quorum', votes: 3}").pattern
    assert pattern.votes == 3
    assert pattern.kind == f"{tmp_path}/patterns/quorum.py:Quorum"


def test_a_file_stands_for_its_content_by_a_hash(tmp_path: Path, scorers: Any) -> None:
    path = tmp_path / "overlap.py"
    path.write_text(OVERLAP)
    sha256 = hashlib.sha256(OVERLAP.encode()).hexdigest()
    assert scorers.origin(f"{path}:Overlap") == FileOrigin(path, sha256, "Overlap")


_numbers = count()


def test_a_file_is_executed_once(tmp_path: Path) -> None:
    path = tmp_path / "counted.py"
    path.write_text(
        f"# {next(_numbers)}\nimport pathlib\npathlib.Path({str(tmp_path)!r}, 'log').open('a').write('x')\nA = B = 1"
    )
    load_from_file(path, "A")
    load_from_file(path, "B")
    assert (tmp_path / "log").read_text() == "x"


def test_files_of_one_name_in_two_folders_are_two_kinds(tmp_path: Path, scorers: Any) -> None:
    for share in ("0.25", "0.75"):
        (tmp_path / share).mkdir()
        (tmp_path / share / "overlap.py").write_text(OVERLAP.replace("0.5", share))
    quarter, most = (scorers.get(f"{tmp_path}/{share}/overlap.py:Overlap") for share in ("0.25", "0.75"))
    assert (quarter(scorer="x").share, most(scorer="x").share) == (0.25, 0.75)


WRONG = {
    "a file that is missing": (None, "quorum.py:Quorum", "cannot be read: No such file or directory"),
    "a class that is missing": (QUORUM, "quorum.py:Quorun", "defines no 'Quorun'"),
    "another base class": (QUORUM, "quorum.py:Stranger", "is not a pattern: it does not derive from Pattern"),
    "a syntax error": ("class Quorum(:", "quorum.py:Quorum", "cannot be imported: SyntaxError: invalid syntax"),
    "an error at import": ("1 / 0", "quorum.py:Quorum", "cannot be imported: ZeroDivisionError: division by zero"),
    "no class named": (QUORUM, "quorum.py", "should be one of 'alone', 'best-of', "),
}


@pytest.mark.parametrize(("code", "reference", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_with_a_file_is_said_with_the_line_of_the_scenario(
    files: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    code: str | None,
    reference: str,
    message: str,
) -> None:
    if code is not None:
        (tmp_path / "quorum.py").write_text(code)
    path = _naming(files, f"./{reference}")
    status, line = _validate(path, monkeypatch, capsys)
    assert status == 2
    assert line.startswith(f"{path}:4: pattern.kind: ")
    assert message in line


def test_options_that_a_files_class_does_not_know_are_refused(files: Any, tmp_path: Path) -> None:
    (tmp_path / "quorum.py").write_text(QUORUM)
    with pytest.raises(SpecError, match=r"pattern\.vote: there is no such key here"):
        files.load("pattern={kind: './quorum.py:Quorum', vote: 3}")


def test_prompts_arrivals_and_the_scorer_can_be_of_a_file(files: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(WORKLOAD)
    mine = ("prompts=./mine.py:One", "scorer=./mine.py:Overlap", "arrivals={process: './mine.py:Regular', rate: 2/s}")
    workload = files.load(*(f"workload.{part}" for part in mine)).workload
    arrivals = workload.schedule(["a"], seed=1)
    assert [arrival.at for arrival in arrivals] == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    assert {workload.scorer.score(arrival.question, "") for arrival in arrivals} == {0.5}
    assert {arrival.question.text for arrival in arrivals} == {"1 + 1?"}


def test_a_fault_can_be_one_of_a_file(files: Any, tmp_path: Path) -> None:
    (tmp_path / "stop.py").write_text("from testbed.faults.kill import Kill\n\n\nclass Stop(Kill):\n    '''Ends.'''\n")
    scenario = files.load("timeline=[{at: 1s, './stop.py:Stop': a}]")
    (entry,) = scenario.timeline
    assert entry.fault is not None
    assert entry.fault.subject == "a"
