"""A dial plan that cannot be used says of each number what is wrong with it."""

from pathlib import Path

import pytest

from tapeline.calls.routing import Routes
from tapeline.cli.terminal import describe
from tapeline.core.errors import InvalidInput
from tapeline.core.settings import Number


def refused(folder: Path, *numbers: Number) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        Routes(numbers, folder)
    return caught.value


def test_every_problem_is_told_with_its_number(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text('{"actions":[{"type":"answer"},{"type":"nosuch"}]}')
    numbers = {"1": "missing.json", "2": "bad.json", "/(/": "bad.json", "3": ""}
    error = refused(tmp_path, *(Number(match=match, flow=flow) for match, flow in numbers.items()))
    assert describe(error) == [
        "error: the dial plan cannot be used",
        f"  number '1': cannot read {tmp_path}/missing.json: No such file or directory",
        f"  number '2': {tmp_path}/bad.json:1:39: error: actions[1].type: unknown action type 'nosuch'"
        " (see the list of VoIPBIN action types)",
        "  number '/(/': match is not a regular expression: missing ), unterminated subpattern at position 0",
        '  number \'3\': it names no flow (give flow = "FILE", application = "ID" or answer_url = "URL")',
        "hint: see [[numbers]] in the settings; `tapeline flow check FILE` tells more",
    ]


def test_a_single_problem_is_told_in_a_line(tmp_path: Path) -> None:
    found = describe(refused(tmp_path, Number(match="1", flow="missing.json")))
    assert found[0] == f"error: the dial plan cannot be used: number '1': cannot read {tmp_path}/missing.json: No such file or directory"
