"""What one source may ask of us."""

from __future__ import annotations

import pytest
from sip_rig import ANSWER, US, Rig, invite, request

from tapeline.sip import EndpointConfig, Flow
from tapeline.sip.limits import FailedLogins, RateLimit, Refused

OTHER = Flow("udp", US, ("192.0.2.10", 5060))


def test_a_rate_lets_a_burst_pass_and_then_so_many_a_second() -> None:
    limit = RateLimit(10.0, burst=3.0)
    assert [limit.allows("a", 0.0) for _ in range(4)] == [True, True, True, False]
    assert limit.allows("b", 0.0)
    assert [limit.allows("a", 0.1), limit.allows("a", 0.1)] == [True, False]
    assert [limit.allows("a", 100.0) for _ in range(4)] == [True, True, True, False]


def test_no_rate_allows_everything_and_remembers_nothing() -> None:
    limit = RateLimit(0.0)
    assert all(limit.allows("a", 0.0) for _ in range(1000)) and not limit._buckets


def test_tables_are_of_a_fixed_size() -> None:
    limit, failures, refused = RateLimit(1.0, most=3), FailedLogins(1, 60.0, sources=3), Refused(32.0, most=3)
    for number in range(10):
        limit.allows(str(number), 0.0)
        failures.failed(str(number), 0.0)
        refused.add(str(number), 0.0)
    assert (len(limit._buckets), len(failures._failures), len(refused._keys)) == (3, 3, 3)
    assert failures.shut_out("9", 1.0) and not failures.shut_out("0", 1.0)


@pytest.mark.parametrize(("most", "expected"), [(2, True), (0, False)])
def test_wrong_passwords_shut_out_for_a_time(most: int, expected: bool) -> None:
    failures = FailedLogins(most, 60.0)
    failures.failed("a", 0.0)
    assert not failures.shut_out("a", 0.0)
    failures.failed("a", 50.0)
    assert failures.shut_out("a", 100.0) is expected
    assert not failures.shut_out("a", 111.0)
    failures.failed("a", 111.0)
    assert not failures.shut_out("a", 111.0)


def test_rule_9_a_source_that_asks_too_often_gets_503_with_retry_after() -> None:
    rig = Rig(EndpointConfig(rate_per_source=1.0, retry_after=3))
    answers = [rig.give(request("OPTIONS", branch=f"z9hG4bK{n}", call_id=f"c{n}")) for n in range(3)]
    assert answers == [[200], [200], [503]] and rig.response.get("retry-after") == "3"
    assert rig.endpoint.counters.refused_rate == 1
    assert rig.give(request("OPTIONS", call_id="other"), OTHER) == [200]


def test_rule_9_requests_within_a_call_are_not_counted() -> None:
    rig = Rig(EndpointConfig(rate_per_source=1.0))
    session = rig.established()
    for number in range(2, 10):
        assert rig.within(session, "OPTIONS", number) == [200]


def test_rule_9_what_got_503_is_not_taken_in_when_it_is_repeated() -> None:
    rig = Rig(EndpointConfig(max_pending=1))
    first = rig.incoming()
    late = invite(call_id="c2", branch="z9hG4bK2")
    assert rig.give(late) == [503]
    said = rig.raw
    first.accept(ANSWER, rig.now)
    rig.drain()
    rig.now += 0.5
    assert rig.give(late) == [503] and rig.raw == said and rig.events == []
    rig.at(rig.now + 40.0)
    rig.give(late)
    assert rig.names == ["Incoming"]
