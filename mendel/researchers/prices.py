"""What the library knows of a model's price, to be shown beside what was spent."""

from __future__ import annotations

from genai_prices import calc_price
from pydantic_ai.usage import RequestUsage

MILLION = 1_000_000


def price_of(model: str) -> dict[str, float]:
    """US dollars for a million tokens of `provider:name`: input, input from the cache, input put into it for
    an hour, output. As for requests of ten thousand tokens: longer ones may be dearer. Raises LookupError."""
    provider, _, name = model.partition(":")
    few = 10_000

    def dollars(usage: RequestUsage) -> float:
        price = calc_price(usage, name, provider_id=provider).total_price
        return round(float(price) * MILLION / few, 6)

    written = RequestUsage(input_tokens=few, cache_write_tokens=few, cache_write_1h_tokens=few)
    return {
        "input": dollars(RequestUsage(input_tokens=few)),
        "cached": dollars(RequestUsage(input_tokens=few, cache_read_tokens=few)),
        "written": dollars(written),
        "output": dollars(RequestUsage(output_tokens=few)),
    }
