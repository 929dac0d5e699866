"""Reading documents: JSON with places, typed fields, diagnostics, dialects told by their shape."""

from __future__ import annotations

import json

import pytest

from tapeline import flow
from tapeline.flow.diagnostics import MAX_PROBLEMS, Problems
from tapeline.flow.fields import Fields
from tapeline.flow.jsondoc import MAX_DEPTH, MAX_SIZE, read, wrap


def problems_of(source):
    return [str(problem) for problem in flow.compile(source).problems]


def one_problem(text):
    found = flow.compile(text)
    assert found.program is None
    (problem,) = found.problems
    assert problem.code == "INVALID_JSON"
    return problem


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("", 1, 1, "the document is empty"),
        (" \n ", 2, 2, "the document ends where a value must be"),
        ('{"actions": [}', 1, 14, "a value must be here, not '}'"),
        ('{"actions": []', 1, 15, "the document ends where '}' or a comma must be"),
        ('{"actions": [],}', 1, 15, "a comma before '}'"),
        ('{"actions": [1,\n]}', 1, 15, "a comma before ']'"),
        ('{"actions": [1\n 2]}', 2, 2, "a comma or ']' must be here"),
        ('{"actions" []}', 1, 12, "a colon must be here, after the key"),
        ("{actions: []}", 1, 2, "a key in double quotes must be here"),
        ("{", 1, 2, "the document ends within an object"),
        ("['a']", 1, 2, 'a value must be here, not "\'"'),
        ("[] []", 1, 4, "there is more after the end of the document"),
        ("[1, // one\n2]", 1, 5, "JSON has no comments"),
        ("# x\n[]", 1, 1, "JSON has no comments"),
        ('["a\nb"]', 1, 4, "a raw line break or control character in a string"),
        ('["abc', 1, 2, "a string without end"),
        ('["\\x"]', 1, 3, "no such escape in a string"),
        ('["\\u12g4"]', 1, 3, "no such escape in a string"),
        ('["\\u0000"]', 1, 2, "a NUL character in a string"),
        ("[01]", 1, 3, "a comma or ']' must be here"),
        ("[1e999]", 1, 2, "the number is too large"),
        ("[" + "9" * 5000 + "]", 1, 2, "a number of more than 64 characters"),
        ("[tru]", 1, 2, "a value must be here, not 't'"),
        ("[NaN]", 1, 2, "a value must be here, not 'N'"),
        ("[...]", 1, 2, "a value must be here, not '.'"),
        (b'["\xff"]', 1, 3, "the document is not UTF-8"),
        (b'[\n"\xc3\xa9\xff"]', 2, 3, "the document is not UTF-8"),
    ],
)
def test_what_is_not_json_has_its_place(text, line, column, message):
    problem = one_problem(text)
    assert (problem.line, problem.column, problem.message) == (line, column, message)


@pytest.mark.parametrize(
    "text",
    [
        '{"a":[1,-2.5e3,"\\u00e9\\ud83d\\ude00\\n",true,false,null,{}],"b":{"c":[]}}',
        "[]",
        "0",
        '"x"',
        " [ 1 , 2 ] ",
        '{"":{"":""}}',
        "[[],[[]]]",
    ],
)
def test_reads_what_json_reads(text):
    problems = Problems()
    assert read(text, problems).plain() == json.loads(text)
    assert read(b"\xef\xbb\xbf" + text.encode(), problems).plain() == json.loads(text)
    assert wrap(json.loads(text), problems).plain() == json.loads(text)
    assert problems.sorted() == ()


def test_places_and_paths():
    node = read('{"a": [\n  {"b c": 1}, "x"]}', Problems())
    inner = node.value["a"].value[0].value["b c"]
    assert inner.place == (2, 11, "a[0]['b c']")
    assert node.value["a"].value[1].place == (2, 15, "a[1]")
    assert wrap({"a": [0, {"b": 1}]}, Problems()).value["a"].value[1].value["b"].place == (0, 0, "a[1].b")


def test_a_key_given_twice_is_a_warning_and_the_last_counts():
    found = flow.compile('{"actions": [{"type": "beep"}],\n "actions": []}')
    assert [str(problem) for problem in found.problems] == ["2:2: warning: the key 'actions' is here twice (the last one counts)"]
    assert found.program.steps == {}


def test_half_a_surrogate_is_replaced():
    problems = Problems()
    assert read('["a\\ud800"]', problems).plain() == ["a\ufffd"]
    assert [problem.severity for problem in problems.sorted()] == ["warning"]
    assert wrap(["a\ud800"], problems).plain() == ["a\ufffd"]


@pytest.mark.parametrize("unit", ["[", '{"a":', '[{"a":['])
def test_ten_megabytes_of_nesting_is_one_error(unit):
    text = (unit * (MAX_SIZE // len(unit)))[:MAX_SIZE]
    problem = one_problem(text)
    assert problem.message == f"nested more than {MAX_DEPTH} deep"


def test_nesting_up_to_the_limit_is_read():
    node = read("[" * MAX_DEPTH + "]" * MAX_DEPTH, Problems())
    json.dumps(node.plain())


@pytest.mark.parametrize("text", ["[" + "1," * 300_000 + "1]", "[" + "[]," * 300_000 + "1]"])
def test_too_many_values_are_one_error(text):
    assert one_problem(text).message == "more than 200000 values"


def test_too_large_is_one_error():
    assert one_problem(" " * (MAX_SIZE + 1)).message == "the document is larger than 10 MB"


def test_long_keys_do_not_multiply():
    inner = ",".join(f'"{n}":[0]' for n in range(1000))
    found = flow.compile('{"actions":[{"' + "k" * 1_000_000 + '":{' + inner + "}}]}")
    assert sum(len(str(problem)) for problem in found.problems) < 10_000


def nested_list(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value", [{"actions": [{"type": object()}]}, [float("nan")], nested_list(1000), b"\xff", "\ud800", {"a": {1, 2}}, None, 5]
)
def test_parsed_values_that_are_no_document(value):
    found = flow.compile(value)
    assert found.program is None and found.errors


def test_keys_that_are_no_texts_are_left_out():
    found = flow.compile({"actions": [], 5: 6})
    assert found.program is not None and len(found.warnings) == 1


def test_a_list_that_holds_itself_is_an_error():
    value: list = []
    value.append(value)
    assert flow.compile(value).program is None


# --- typed fields


def fields(value):
    problems = Problems()
    return Fields(wrap(value, problems), problems), problems


@pytest.mark.parametrize(("value", "result"), [(5, 5), ("5", 5), (" 7 ", 7), (5.0, 5), (5.7, 5), (None, 3), ("", 3), ("1e2", 100)])
def test_integers(value, result):
    found, problems = fields({"n": value})
    assert found.integer("n", 3) == result and not problems.failed


@pytest.mark.parametrize("value", ["x", "nan", "inf", True, [], {}, "9" * 100])
def test_what_is_no_number(value):
    found, problems = fields({"n": value})
    assert found.integer("n", 3) == 3 and problems.failed


def test_ranges():
    found, problems = fields({"n": 9})
    assert found.integer("n", low=0, high=5, clamp=True) == 5 and not problems.failed
    assert found.integer("n", 1, low=0, high=5) == 1 and problems.failed
    assert [problem.message for problem in problems.sorted()] == ["must be within 0 and 5"] * 2
    assert found.number("n", low=9.5, clamp=True) == 9.5
    assert found.number("n", high=2, clamp=True) == 2
    assert {problem.message for problem in problems.sorted()} >= {"must be at least 9.5", "must be at most 2"}


@pytest.mark.parametrize(
    ("value", "result"),
    [(True, True), ("true", True), ("False", False), ("false", False), (0, False), ("1", True), (None, False), ("", False)],
)
def test_booleans(value, result):
    found, problems = fields({"b": value})
    assert found.boolean("b") is result and not problems.failed


@pytest.mark.parametrize("value", ["maybe", 2, [], 1.5])
def test_what_is_no_boolean(value):
    found, problems = fields({"b": value})
    assert found.boolean("b", True) is True and problems.failed


def test_texts():
    found, problems = fields({"t": 5, "bad": [], "list": ["a", 1, None], "one": "a", "worse": {}})
    assert found.text("t") == "5" and not problems.failed
    assert found.texts("list") == ("a", "1")
    assert found.texts("one") == ("a",) and len(problems.sorted()) == 1
    assert found.texts("none") == ()
    assert found.text("bad", "d") == "d" and found.texts("worse") == () and problems.failed


def test_objects():
    found, problems = fields({"o": {"a": 1}, "l": [{"a": 2}, None], "bad": 5})
    assert [item.integer("a") for item in found.objects("o")] == [1] and not problems.failed
    assert [item.integer("a") for item in found.objects("l")] == [2]
    assert list(found.objects("bad")) == [] and problems.failed


def test_members():
    found, problems = fields({"m": {"a": "x", "b": None}, "bad": 5})
    assert list(found.members("m")) == ["a"] and found.members("none") == {} and not problems.failed
    assert found.members("bad") == {} and problems.failed


def test_unknown_keys_name_the_nearest_known():
    found, problems = fields({"durations": 1, "zzz": 2})
    found.integer("duration")
    found.done()
    assert [problem.hint for problem in problems.sorted()] == ["did you mean 'duration'?", "it is ignored"]


def test_an_option_that_is_no_object():
    assert problems_of('[{"type":"talk","option":"x"}]')[0] == "1:26: error: [0].option: must be an object, not a string"


# --- dialects


@pytest.mark.parametrize(
    ("source", "dialect"),
    [
        ('{"actions": []}', "voipbin"),
        ("[]", "voipbin"),
        ('[{"type": "answer"}]', "voipbin"),
        ('{"actions": [], "name": "n", "detail": "d", "on_complete_flow_id": "f"}', "voipbin"),
        ('[{"action": "talk", "text": "x"}]', "vonage"),
        ('{"module": "record_call", "data": {"action": "start"}}', "kazoo"),
        ('{"flow": {"module": "say"}, "numbers": ["1"]}', "kazoo"),
        ("5", ""),
        ('{"x": 1}', ""),
    ],
)
def test_dialect_by_shape(source, dialect):
    found = flow.compile(source)
    assert found.dialect == dialect
    assert (found.program is not None) == bool(dialect)
    if not dialect:
        assert found.problems[0].code == "DIALECT_UNKNOWN"


def test_dialect_by_name():
    assert flow.compile("{}", dialect="voipbin").problems[0].message == "there are no actions"
    assert flow.compile("{}", dialect="kazoo").problems[0].message == "there is no flow"
    assert flow.compile("{}", dialect="vonage").problems[0].message == "an NCCO is an array of actions, not an object"
    with pytest.raises(flow.DialectUnknown):
        flow.compile("[]", dialect="twiml")


def test_flow_fields():
    program = flow.compile({"actions": [{"type": "answer"}], "name": "n", "on_complete_flow_id": "f"}).program
    assert (program.name, program.on_complete_flow_id, program.dialect, program.at_end) == ("n", "f", "voipbin", "hangup")


# --- VoIPBIN's problems


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ('{"actions": 5}', "1:13: error: actions: actions must be a list, not a number"),
        ("[5]", "1:2: error: [0]: an action must be an object, not a number"),
        ("[{}]", "1:2: error: [0]: an action needs a type (see the list of VoIPBIN action types)"),
        ('[{"type":"tlak"}]', "1:10: error: [0].type: unknown action type 'tlak' (did you mean 'talk'?)"),
        ('[{"type":"connect"}]', """1:2: error: [0]: connect needs a destination ([{"type": "tel", "target": "+15551234567"}])"""),
        (
            '[{"type":"connect","option":{"destinations":[{"type":"tel"}]}}]',
            "1:46: error: [0].option.destinations[0]: a destination needs a target",
        ),
        ('[{"type":"conference_join"}]', "1:2: error: [0]: conference_join needs conference_id"),
        ('[{"type":"fetch","option":{}}]', "1:27: error: [0].option: fetch needs event_url"),
        ('[{"type":"goto","option":{"loop_count":1}}]', "1:26: error: [0].option: goto needs a target_id"),
        (
            '[{"type":"goto","option":{"loop_count":1,"target_id":"x"}}]',
            "1:54: error: [0].option.target_id: no action has the id 'x' (give that action this id)",
        ),
        ('[{"type":"beep","next_id":"x"}]', "1:27: error: [0].next_id: no action has the id 'x' (give that action this id)"),
        (
            '[{"type":"branch","option":{"target_ids":{"1":5}}}]',
            "1:47: error: [0].option.target_ids['1']: must be an action's id, not a number",
        ),
        (
            '[{"type":"condition_variable","option":{"condition":"~"}}]',
            "1:53: error: [0].option.condition: no such condition: '~' (one of == != > >= < <=)",
        ),
        ('[{"type":"condition_datetime","option":{"hour":25}}]', "1:48: error: [0].option.hour: must be within -1 and 23"),
        ('[{"type":"condition_datetime","option":{"weekdays":[7]}}]', "1:53: error: [0].option.weekdays[0]: a weekday is 0 (Sunday) to 6"),
        (
            '[{"type":"condition_datetime","option":{"weekdays":7}}]',
            "1:52: error: [0].option.weekdays: must be a list of numbers, not a number",
        ),
        ('[{"type":"sleep","option":{"duration":"soon"}}]', "1:39: error: [0].option.duration: must be a number, not 'soon'"),
    ],
)
def test_errors(actions, message):
    found = flow.compile(actions)
    assert found.program is None
    assert message in [str(problem) for problem in found.problems]


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ('[{"type":"beep","colour":1}]', "unknown key 'colour'"),
        ('[{"type":"sleep","option":{"durations":1}}]', "unknown key 'durations'"),
        ('[{"type":"beep","id":"a"},{"type":"beep","id":"a"}]', "the id 'a' is here twice"),
        ('[{"type":"branch"}]', "a branch without targets goes to the next action"),
        ('[{"type":"goto","option":{"target_id":"a"},"id":"a"}]', "a goto without a loop_count is never taken"),
        ('[{"type":"variable_set"}]', "no key: nothing is set"),
        ('[{"type":"webhook_send"}]', "no uri: nothing is sent"),
        ('[{"type":"digits_receive","option":{"key":"1x"}}]', "only 0-9, *, # and A-D are keys"),
        ('[{"type":"play","option":{"stream_urls":"u"}}]', "must be a list of strings"),
        ('[{"type":"sleep","option":{"duration":-1}}]', "must be within 0 and 86400000"),
        ('[{"type":"sleep","option":{"duration":1.5}}]', "must be a whole number"),
        ('[{"type":"webhook_send","option":{"uri":"u","data":[]}}]', "data must be a string"),
    ],
)
def test_warnings(actions, message):
    found = flow.compile(actions)
    assert found.program is not None and message in [problem.message for problem in found.warnings]


def test_all_problems_are_told_in_the_documents_order():
    text = '[{"type":"x1"},\n{"type":"sleep","option":{"duration":"a","oops":1}},\n{"type":"y"}]'
    found = flow.compile(text)
    assert [(problem.line, problem.severity) for problem in found.problems] == [(1, "error"), (2, "error"), (2, "warning"), (3, "error")]


def test_the_list_of_problems_has_an_end_and_an_error_is_never_lost_in_it():
    warnings = ['{"type":"beep","x":1}'] * 1000
    found = flow.compile("[" + ",".join([*warnings, '{"type":"bad"}']) + "]")
    assert found.program is None and len(found.problems) == MAX_PROBLEMS + 1 and len(found.errors) == 1


def test_null_is_absent():
    assert (
        problems_of(
            '[{"id":null,"type":"talk","next_id":null,"option":{"text":"x","language":null,"async":null}},{"type":"beep","option":null}]'
        )
        == []
    )


def test_documents_as_the_platform_gives_them_back_have_no_problems():
    zero = "00000000-0000-0000-0000-000000000000"
    action = {"id": "c6d2a9a8-0d9a-4c8e-9f7e-7d6a1d1f0a01", "next_id": zero, "type": "answer", "tm_execute": None}
    document = {
        "id": zero,
        "customer_id": zero,
        "type": "flow",
        "name": "",
        "actions": [action],
        "on_complete_flow_id": zero,
        "tm_create": "x",
    }
    assert flow.compile(document).problems == ()
    assert flow.compile(document).program.on_complete_flow_id == ""


def test_nested_documents_may_name_targets_outside():
    text = '[{"type":"goto","option":{"target_id":"out","loop_count":1}}]'
    assert flow.compile(text).program is None
    assert flow.compile(text, nested=True).problems == ()
