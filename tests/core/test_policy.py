"""Policies: which one counts for a name, what follows from it, and what is refused."""

import re
from pathlib import Path

import gevent
import pytest

from portask.definitions.policy import POLICIES, Policy
from portask.definitions.policy_keys import KEYS, age_ms
from portask.errors import CorruptError, NotFoundError, PreconditionError
from portask.message import encode_cbor
from portask.storage.base import Round
from portask.storage.memory import MemoryStorage

TTL = {"message-ttl": 1000}


@pytest.fixture
def policies(broker):
    return broker.policies


def names(policies, queue, queue_type="classic", **options):
    """The policy that counts for a queue."""
    policy = policies.for_queue("/", queue, queue_type, **options)
    return policy and policy.name


# -- which one counts ------------------------------------------------------------------------------


def test_a_policy_counts_where_its_pattern_is_found_in_the_name(policies):
    policies.put(Policy("/", "p", "^or.*s$", TTL))

    assert names(policies, "orders") == "p"
    assert names(policies, "my orders") is None


def test_a_pattern_need_not_match_the_whole_name(policies):
    policies.put(Policy("/", "p", "rd", TTL))

    assert names(policies, "orders") == "p"


def test_an_empty_pattern_is_found_everywhere(policies):
    policies.put(Policy("/", "p", "", TTL))

    assert names(policies, "orders") == names(policies, "") == "p"


def test_the_policy_of_the_highest_priority_counts_alone(policies):
    policies.put(Policy("/", "low", "", {"max-length": 1}, priority=-1))
    policies.put(Policy("/", "high", "", TTL, priority=2.5))
    policies.put(Policy("/", "middle", "", {"expires": 1}, priority=2))

    assert names(policies, "q") == "high"
    assert policies.queue_arguments("/", "q", "classic", {}) == {"x-message-ttl": 1000}


def test_of_equal_priorities_the_first_name_counts(policies):
    for name in ("b", "a", "c"):
        policies.put(Policy("/", name, "", TTL))

    assert names(policies, "q") == "a"


def test_a_policy_counts_in_its_virtual_host_only(policies):
    policies.put(Policy("other", "p", "", TTL))

    assert names(policies, "q") is None


@pytest.mark.parametrize(
    ("apply_to", "kinds"),
    [
        ("all", "classic quorum stream exchange"),
        ("queues", "classic quorum stream"),
        ("classic_queues", "classic"),
        ("quorum_queues", "quorum"),
        ("streams", "stream"),
        ("exchanges", "exchange"),
    ],
)
def test_a_policy_counts_for_what_it_applies_to(policies, apply_to, kinds):
    policies.put(Policy("/", "p", "", {"max-length-bytes": 1}, apply_to))
    counting = [kind for kind in ("classic", "quorum", "stream") if names(policies, "x", kind)]
    if policies.for_exchange("/", "x"):
        counting.append("exchange")

    assert counting == kinds.split()


@pytest.mark.parametrize(
    ("definition", "types"),
    [
        ({"delivery-limit": 3, "message-ttl": 1}, "quorum"),
        ({"max-age": "1D"}, "stream"),
        ({"max-length": 1}, "classic quorum"),
        ({"queue-mode": "lazy", "max-length": 1}, "classic"),
        ({"alternate-exchange": "x"}, "classic quorum stream"),
    ],
)
def test_a_policy_that_a_queue_cannot_follow_in_all_does_not_count_for_it(policies, definition, types):
    policies.put(Policy("/", "p", "", definition))

    assert [kind for kind in ("classic", "quorum", "stream") if names(policies, "x", kind)] == types.split()


# -- what follows from it --------------------------------------------------------------------------


def test_without_a_policy_the_arguments_stay_what_they_are(policies):
    arguments = {"x-message-ttl": 5}

    assert policies.queue_arguments("/", "q", "classic", arguments) is arguments


@pytest.mark.parametrize("name", ["message-ttl", "expires", "max-length", "max-length-bytes"])
@pytest.mark.parametrize(("declared", "said", "effective"), [(5, 7, 5), (7, 5, 5), (None, 5, 5)])
def test_of_two_numbers_the_smaller_one_counts(policies, name, declared, said, effective):
    policies.put(Policy("/", "p", "", {name: said}))
    arguments = {} if declared is None else {"x-" + name: declared}

    assert policies.queue_arguments("/", "q", "classic", arguments) == {"x-" + name: effective}


@pytest.mark.parametrize(("declared", "said", "effective"), [(-1, 5, 5), (5, -1, 5), (5, 7, 5), (-1, -1, -1)])
def test_a_delivery_limit_below_0_is_none(policies, declared, said, effective):
    policies.put(Policy("/", "p", "", {"delivery-limit": said}))

    merged = policies.queue_arguments("/", "q", "quorum", {"x-delivery-limit": declared})
    assert merged == {"x-delivery-limit": effective}


@pytest.mark.parametrize(("declared", "said", "effective"), [("1D", "25h", "1D"), ("1Y", "7D", "7D")])
def test_of_two_ages_the_shorter_one_counts(policies, declared, said, effective):
    policies.put(Policy("/", "p", "", {"max-age": said}))

    assert policies.queue_arguments("/", "q", "stream", {"x-max-age": declared}) == {"x-max-age": effective}


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1Y", 31_536_000_000),
        ("1M", 2_592_000_000),
        ("2D", 172_800_000),
        ("3h", 10_800_000),
        ("4m", 240_000),
        ("5s", 5000),
    ],
)
def test_ages_are_read_with_their_unit(text, ms):
    assert age_ms(text) == ms


def test_an_argument_goes_before_a_policy_where_they_are_no_numbers(policies):
    policies.put(Policy("/", "p", "", {"dead-letter-exchange": "theirs", "overflow": "reject-publish"}))

    assert policies.queue_arguments("/", "q", "classic", {"x-dead-letter-exchange": "mine"}) == {
        "x-dead-letter-exchange": "mine",
        "x-overflow": "reject-publish",
    }


def test_an_operator_policy_limits_the_numbers_of_policies_and_arguments(policies):
    policies.put(Policy("/", "p", "", {"max-length": 50, "message-ttl": 10}))
    policies.put(Policy("/", "o", "", {"max-length": 20, "message-ttl": 20, "expires": 5}), operator=True)

    assert policies.queue_arguments("/", "q", "classic", {"x-message-ttl": 30, "x-expires": 3}) == {
        "x-max-length": 20,
        "x-message-ttl": 10,
        "x-expires": 3,
    }


def test_an_operator_policy_goes_before_a_policy_where_they_are_no_numbers(policies):
    policies.put(Policy("/", "p", "", {"overflow": "drop-head"}))
    policies.put(Policy("/", "o", "", {"overflow": "reject-publish"}), operator=True)

    assert policies.queue_arguments("/", "q", "classic", {}) == {"x-overflow": "reject-publish"}


def test_an_operator_policy_counts_without_a_policy(policies):
    policies.put(Policy("/", "o", "", {"max-length": 20}), operator=True)

    assert policies.queue_arguments("/", "q", "classic", {}) == {"x-max-length": 20}


def test_what_has_no_effect_becomes_no_argument(policies):
    policies.put(Policy("/", "p", "", {"ha-mode": "all", "queue-mode": "lazy", "alternate-exchange": "x"}))

    assert policies.queue_arguments("/", "q", "classic", {}) == {}


def test_a_dead_letter_routing_key_without_an_exchange_has_no_effect(policies):
    policies.put(Policy("/", "p", "", {"dead-letter-routing-key": "k"}))

    assert policies.queue_arguments("/", "q", "classic", {}) == {}
    assert len(policies.queue_arguments("/", "q", "classic", {"x-dead-letter-exchange": ""})) == 2


def test_an_overflow_that_quorum_queues_do_not_know_has_no_effect_on_them(policies):
    policies.put(Policy("/", "p", "", {"overflow": "reject-publish-dlx"}))

    assert policies.queue_arguments("/", "q", "quorum", {}) == {}
    assert policies.queue_arguments("/", "q", "classic", {}) == {"x-overflow": "reject-publish-dlx"}


def test_an_exchange_is_told_what_its_policy_says(policies):
    policies.put(Policy("/", "p", "^x", {"alternate-exchange": "other"}, "exchanges"))

    assert policies.exchange_definition("/", "x1") == {"alternate-exchange": "other"}
    assert policies.exchange_definition("/", "y1") == {}


# -- changes ---------------------------------------------------------------------------------------


def test_whoever_watches_hears_of_every_change(policies):
    heard = []
    policies.watch(heard.append)
    policies.put(Policy("/", "p", "", TTL))
    policies.put(Policy("other", "o", "", TTL), operator=True)
    policies.delete("/", "p")

    assert heard == ["/", "other", "/"]


def test_a_policy_that_is_put_again_replaces_the_first(policies):
    policies.put(Policy("/", "p", "^a", TTL))
    policies.put(Policy("/", "p", "^b", TTL))

    assert names(policies, "a") is None
    assert names(policies, "b") == "p"
    assert len(policies.policies()) == 1


def test_a_policy_that_is_deleted_while_another_is_made_counts_no_more(policies):
    policies.put(Policy("/", "p", "", TTL, priority=1))
    changes = [
        gevent.spawn(policies.put, Policy("/", "other", "", TTL)),
        gevent.spawn(policies.delete, "/", "p"),
    ]
    gevent.joinall(changes, timeout=5, raise_error=True)

    assert names(policies, "orders") == "other"


def test_a_deleted_policy_counts_no_more(policies):
    policies.put(Policy("/", "p", "", TTL))
    policies.delete("/", "p")

    assert names(policies, "q") is None


def test_deleting_an_unknown_policy_is_refused(policies):
    policies.put(Policy("/", "p", "", TTL))

    with pytest.raises(NotFoundError, match="no operator policy 'p' in vhost '/'"):
        policies.delete("/", "p", operator=True)


def test_everything_comes_back_after_a_restart(make_broker):
    storage = MemoryStorage()
    policies = make_broker(storage=storage).policies
    policies.put(Policy("/", "p", "^a", {"max-length": 1 << 70}, "queues", 7))
    policies.put(Policy("/", "p", "^b", {"max-length": 5}, "all", 0.5), operator=True)
    policies.put(Policy("/", "gone", "", TTL))
    policies.delete("/", "gone")

    again = make_broker(storage=storage).policies
    assert again.policies() == [Policy("/", "p", "^a", {"max-length": 1 << 70}, "queues", 7)]
    assert again.policies(operator=True) == [Policy("/", "p", "^b", {"max-length": 5}, "all", 0.5)]


def test_a_virtual_host_takes_its_policies_along(policies):
    policies.put(Policy("other", "p", "", TTL))
    policies.put(Policy("other", "o", "", TTL), operator=True)
    policies.put(Policy("/", "p", "", TTL))
    round_ = Round()
    policies.collect_virtual_host_deletion("other", round_)
    policies.forget_virtual_host("other")

    assert [policy.virtual_host for policy in policies.policies() + policies.policies(operator=True)] == ["/"]
    assert list(round_.puts.values()) == [None, None]


@pytest.mark.parametrize("row", [b"{}", b"not JSON", b'["(", "all", 0, {}]', b'["", "all", 0]'])
def test_a_broken_row_stops_the_start_with_its_table(make_broker, row):
    storage = MemoryStorage()
    storage.open()
    round_ = Round()
    round_.puts[POLICIES, encode_cbor(["/", "policy", "p"])] = row
    storage.write(round_)
    storage.close()

    with pytest.raises(CorruptError, match="table policies"):
        make_broker(storage=storage)


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        (Policy("/", "", "", TTL), "name"),
        (Policy("/", "x" * 256, "", TTL), "name"),
        (Policy("/", "\ud800", "", TTL), "UTF-8"),
        (Policy("/", "p", "(", TTL), "no regular expression"),
        (Policy("/", "p", "a{99999999999999999999}", TTL), "no regular expression"),
        (Policy("/", "p", "", TTL, "topics"), "apply-to must be one of queues, .* not 'topics'"),
        (Policy("/", "p", "", TTL, "all", "1"), "priority must be a number, not '1'"),
        (Policy("/", "p", "", TTL, "all", True), "priority must be a number"),
        (Policy("/", "p", "", {}), "definition is empty"),
        (Policy("/", "p", "", {"message-tll": 1}), "'message-tll' is not a policy setting"),
        (
            Policy("/", "p", "", {"message-ttl": -1}),
            "message-ttl must be a whole number from 0 to 315360000000, not -1",
        ),
        (Policy("/", "p", "", {"message-ttl": "1"}), "message-ttl must be a whole number from 0 to .*, not '1'"),
        (Policy("/", "p", "", {"message-ttl": True}), "message-ttl must be"),
        (Policy("/", "p", "", {"expires": 0}), "expires must be a whole number from 1 to"),
        (Policy("/", "p", "", {"overflow": "drop-tail"}), "overflow must be one of drop-head"),
        (Policy("/", "p", "", {"max-age": "7d"}), "max-age must be a number and one of"),
        (Policy("/", "p", "", {"max-age": "0D"}), "max-age must be a number and one of"),
        (Policy("/", "p", "", {"max-length": -1}), "max-length must be a whole number of at least 0, not -1"),
        (Policy("/", "p", "", {"max-age": 7}), "max-age must be a number and one of"),
        (Policy("/", "p", "", {"dead-letter-exchange": 7}), "dead-letter-exchange must be text"),
        (Policy("/", "p", "", {"dead-letter-routing-key": "\ud800"}), "dead-letter-routing-key must be text"),
        (Policy("/", "p", "", {"dead-letter-routing-key": "k" * 256}), "dead-letter-routing-key must be text"),
        (Policy("/", "p", "", {"delivery-limit": 1.5}), "delivery-limit must be a whole number"),
        (Policy("/", "p", "", {"queue-version": 3}), "queue-version must be 1 or 2"),
        (Policy("/", "p", "", {"ha-mode": "some"}), "ha-mode must be one of"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_and_named(policies, policy, text):
    with pytest.raises(PreconditionError, match=text):
        policies.put(policy)
    assert policies.policies() == []


@pytest.mark.parametrize("name", sorted(set(KEYS) - {name for name, key in KEYS.items() if key.operator}))
def test_an_operator_policy_cannot_say_everything(policies, name):
    with pytest.raises(PreconditionError, match=f"'{name}' is not a setting of operator policies"):
        policies.put(Policy("/", "p", "", {name: 1}), operator=True)


def test_the_documentation_names_every_key():
    page = (Path(__file__).parents[2] / "docs" / "definitions.md").read_text()
    operators = page.partition("Operator policies may have")[2].partition("In definitions")[0]

    assert {name for name in KEYS if f"`{name}`" not in page} == set()
    assert set(re.findall(r"`([a-z-]+)`", operators)) == {name for name, key in KEYS.items() if key.operator}


def test_ha_parameters_may_be_anything(policies):
    policies.put(Policy("/", "p", "", {"ha-mode": "nodes", "ha-params": ["a@b", "c@d"]}))

    assert names(policies, "q") == "p"
