"""`tapeline flow check` and `flow show`."""

import io
import json
import re
from pathlib import Path

import pytest

from tapeline.cli import main

GOOD = """{
  "actions": [
    {"type": "answer"},
    {"id": "ask", "type": "talk", "option": {"text": "Press <1> \\"now\\""}},
    {"type": "digits_receive", "option": {"duration": 5000, "length": 1}},
    {"type": "branch", "option": {"target_ids": {"1": "ask"}, "default_target_id": "bye"}},
    {"id": "bye", "type": "hangup"}
  ]
}
"""
BAD = """{
  "actions": [
    {"type": "answer"},
    {"type": "tlak", "option": {"text": "hello"}},
    {"type": "goto", "option": {"target_id": "nowhere", "loop_count": 1}}
  ]
}
"""


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.json"
    path.write_text(GOOD)
    return path


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.json"
    path.write_text(BAD)
    return path


def test_a_document_that_runs(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flow", "check", str(good)]) == 0
    assert capsys.readouterr().out == f"{good}: runs: voipbin, 5 steps, 0 errors, 0 warnings\n"


def test_every_problem_has_its_line_and_column(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flow", "check", str(bad)]) == 1
    *problems, last = capsys.readouterr().out.splitlines()
    places = [re.match(rf"{re.escape(str(bad))}:(\d+):(\d+): error: (.+)", line) for line in problems]
    assert all(places), problems
    lines = [int(place[1]) for place in places if place]
    assert lines == [4, 5] and "tlak" in problems[0] and "nowhere" in problems[1]
    assert last == f"{bad}: cannot run: 2 errors, 0 warnings"


def test_as_json(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flow", "check", str(bad), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["runs"] is False and [problem["line"] for problem in found["problems"]] == [4, 5]


def test_from_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(GOOD.encode())))
    assert main(["flow", "check", "-"]) == 0
    assert capsys.readouterr().out.startswith("<stdin>: runs")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1, 2", b"null"])
def test_what_is_no_document_is_a_problem_not_a_traceback(tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "document"
    path.write_bytes(content)
    assert main(["flow", "check", str(path)]) == 1
    told = capsys.readouterr()
    assert "cannot run" in told.out and told.err == ""


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flow", "check", "no/such/flow.json"]) == 1
    assert capsys.readouterr().err.startswith("error: cannot read no/such/flow.json: No such file or directory\nhint: ")


def test_the_graph_has_each_step_and_each_edge(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flow", "show", str(good)]) == 0
    graph = capsys.readouterr().out
    assert graph.startswith("flowchart TD\n")
    boxes = dict(re.findall(r"^    (s\d+)\[\"(.*)\"\]$", graph, re.MULTILINE))
    assert boxes["s2"] == "talk: Press #lt;1#gt; #quot;now#quot;"
    boxes = {name: title.partition(":")[0] for name, title in boxes.items()}
    assert list(boxes.values()) == ["answer", "talk", "digits_receive", "branch", "hangup"]
    name = {label: box for box, label in boxes.items()}
    edges = re.findall(r"^    (\w+) -->(?:\|\"(.*)\"\|)? (\w+)$", graph, re.MULTILINE)
    assert ("start", "", name["answer"]) in edges
    assert (name["branch"], "1", name["talk"]) in edges
    assert (name["branch"], "", name["hangup"]) in edges
    assert not [end for begin, _, end in edges if begin == name["hangup"]]


def test_what_cannot_run_is_not_drawn(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flow", "show", str(bad)]) == 1
    told = capsys.readouterr()
    assert told.out == "" and "tlak" in told.err
