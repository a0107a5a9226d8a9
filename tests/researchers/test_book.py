"""The book: what was asked is not paid again, limits hold for what is in flight, prices are right."""

import pytest
from pydantic_ai.messages import ModelResponse, TextPart
from pydantic_ai.usage import RequestUsage

from mendel.records import Fingerprint
from mendel.researchers.book import Asked, Book, NoAnswer, SpendLimit, UnknownPrice
from mendel.researchers.models import as_kept
from mendel.researchers.settings import Limit, Limits, Price
from mendel.store import CallState, Store

FINGERPRINT = Fingerprint(
    device="cpu", instruction_set="x", threads=1, precision="auto", libraries={}, corpus="c"
)
PRICE = Price(input=10.0, output=100.0, cached=1.0, written=20.0)


@pytest.fixture
def store(lab_root):
    with Store(lab_root) as store:
        yield store


@pytest.fixture
def campaign(store):
    return store.create_campaign("one", 1, "toy", "plain", {}, FINGERPRINT).id


def asked(id="a", seat="proposer", idea=None, task="0/propose", model="test:m", most=1_000, characters=3_000):
    return Asked(id, task, 0, seat, idea, model, {"messages": []}, characters, most)


def response(**usage):
    return ModelResponse([TextPart("{}")], usage=RequestUsage(**usage), model_name="m")


def book(store, of, **limits):
    """Of a campaign, with these limits and no others."""
    unlimited = Limits(campaign=Limit(), day=Limit(), idea=Limit())
    return Book(store, of, unlimited.model_copy(update=limits), {"m": PRICE})


def pay(book, one, **usage):
    book.begin(one)
    found = response(**usage)
    book.answered(one, as_kept(found), found, 1.0)


def test_cached_and_written_tokens_have_prices_of_their_own(store, campaign):
    usage = {"input_tokens": 1_000_000, "cache_read_tokens": 500_000, "cache_write_tokens": 200_000}
    pay(book(store, campaign), asked(), output_tokens=10_000, **usage)
    assert store.usage(campaign).dollars == pytest.approx(0.3 * 10 + 0.5 * 1 + 0.2 * 20 + 0.01 * 100)


def test_the_library_knows_prices_of_the_default_models(store, campaign):
    from mendel.researchers.settings import CHEAP, STRONG

    usage = RequestUsage(input_tokens=1_000_000, output_tokens=1_000_000)
    one = Book(store, campaign)
    assert 0 < one.dollars(CHEAP, usage) < one.dollars(STRONG, usage)


def test_a_model_without_a_price_is_refused_with_the_key_to_give(store, campaign):
    with pytest.raises(UnknownPrice, match=r"'openai:my-own': its price is not known.*prices.'my-own'"):
        Book(store, campaign).dollars("openai:my-own", RequestUsage())


def test_an_answer_is_looked_up_and_kept_once(store, campaign):
    one, found = book(store, campaign), response(input_tokens=10)
    assert one.known(asked()) is None
    one.begin(asked())
    one.answered(asked(), as_kept(found), found, 1.0)
    one.answered(asked(), {"another": "answer"}, response(input_tokens=99), 1.0)
    assert one.known(asked())["parts"][0]["content"] == "{}"
    assert store.usage(campaign).input_tokens == 10


def test_what_is_in_flight_counts_with_the_most_that_it_may_cost(store, campaign):
    one = book(store, campaign, campaign=Limit(usd=0.25))
    one.begin(asked("a"))  # 1,000 tokens read into the cache for 0.02 and 1,000 written for 0.10
    one.begin(asked("b"))
    with pytest.raises(SpendLimit, match="0.24 dollars of 0.25 are spent or in flight.*may cost 0.12"):
        one.begin(asked("c"))
    found = response(input_tokens=1_000, output_tokens=10)
    one.answered(asked("a"), as_kept(found), found, 1.0)
    assert store.usage(campaign).dollars == pytest.approx(0.12 + 0.011)


def test_what_was_lost_with_its_process_goes_on_counting_until_it_is_asked_again(store, campaign):
    book(store, campaign).begin(asked("a"))
    later = book(store, campaign, campaign=Limit(usd=0.15))
    with pytest.raises(SpendLimit):
        later.begin(asked("b"))
    again = book(store, campaign)
    pay(again, asked("a"), output_tokens=1_000)
    assert store.usage(campaign).dollars == pytest.approx(0.12 + 0.10), "the lost one, and its answer"
    assert store.call(campaign, "a").attempts == 2


def test_a_request_that_failed_costs_nothing(store, campaign):
    one = book(store, campaign)
    one.begin(asked())
    one.failed(asked(), "refused")
    assert store.usage(campaign).dollars == 0
    assert store.call(campaign, "a").state is CallState.FAILED


def test_the_day_is_of_all_campaigns_and_the_campaign_of_one(store, campaign):
    other = store.create_campaign("two", 1, "toy", "plain", {}, FINGERPRINT).id
    pay(book(store, other), asked(), output_tokens=1_000)
    book(store, campaign, campaign=Limit(usd=0.13)).begin(asked("b"))
    with pytest.raises(SpendLimit, match="the limit of the day"):
        book(store, campaign, day=Limit(usd=0.12)).begin(asked("c"))


@pytest.mark.parametrize(
    ("scope", "same", "other"),
    [("seat", {"seat": "analyst"}, {"seat": "librarian"}), ("idea", {"idea": "x"}, {"idea": "y"})],
)
def test_a_seat_and_an_idea_have_limits_of_their_own(store, campaign, scope, same, other):
    one = book(store, campaign, **{scope: Limit(tokens=100)})
    pay(one, asked("a", **same), input_tokens=60, output_tokens=40)
    one.begin(asked("b", **other))
    with pytest.raises(SpendLimit, match="100 of 100 tokens"):
        one.begin(asked("c", **same))


def test_seconds_are_limited(store, campaign):
    one = book(store, campaign, campaign=Limit(seconds=1.0))
    pay(one, asked("a"), input_tokens=1)
    with pytest.raises(SpendLimit, match="1 of 1 seconds"):
        one.begin(asked("b"))


def test_a_replay_gives_what_was_answered_in_the_same_place_and_pays_nothing(store, campaign):
    pay(book(store, campaign), asked("a"), output_tokens=1_000)
    again = store.create_campaign("two", 1, "toy", "plain", {}, FINGERPRINT).id
    replayed = Book(store, again, Limits(), {"m": PRICE}, replay=campaign)
    assert replayed.known(asked("asked otherwise"))["parts"][0]["content"] == "{}"
    assert store.usage(again).dollars == 0
    with pytest.raises(NoAnswer, match="no answer to step 0 of 5/propose"):
        replayed.known(asked("b", task="5/propose"))
