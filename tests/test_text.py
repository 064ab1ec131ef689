"""Numbers and lists as people read them."""

import pytest

from helpers import text


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        *(
            (0, "0"),
            (0.01234, "0.0123"),
            (0.9999, "1.00"),
            (9.999, "10.0"),
            (99.99, "100"),
            (1234.5, "1,230"),
        ),
        *((-1.5, "-1.50"), (float("inf"), "inf"), (float("nan"), "nan")),
    ],
)
def test_three_significant_digits(number: float, shown: str) -> None:
    assert text.three(number) == shown


@pytest.mark.parametrize(("us", "shown"), [(12.34, "12.3 µs"), (1234, "1.23 ms"), (4.56e6, "4.56 s")])
def test_durations_in_a_fitting_unit(us: float, shown: str) -> None:
    assert text.duration_us(us) == shown


@pytest.mark.parametrize(("size", "shown"), [(100, "100 B"), (5000, "4.88 KiB"), (3 * 2**30, "3.00 GiB")])
def test_sizes(size: float, shown: str) -> None:
    assert text.size_bytes(size) == shown


def test_lists_and_counts() -> None:
    assert [text.join(list("abc")[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
    assert (text.plural(1, "row"), text.plural(1234, "row")) == ("1 row", "1,234 rows")
    assert text.plural(2, "query", "queries") == "2 queries"
    assert text.rows_of({"users": 20, "orders": 1000}) == "20 users and 1,000 orders"
    assert text.duration_s(0.0123) == "12.3 ms"


def test_a_span_of_values_that_read_alike_is_one_value() -> None:
    assert text.span([3.4, 1.2, 2]) == "1.20 to 3.40"
    assert text.span([1.2, 1.2001]) == "1.20"
    assert text.span({9, 1000}, text.count) == "9 to 1,000"


def test_what_is_not_known_is_not_available() -> None:
    assert text.known(None, text.size_bytes) == "n/a"
    assert text.known(0, text.size_bytes) == "0 B"


@pytest.mark.parametrize(
    ("measured", "set_"),
    [
        ("1.00 s", "1 s"),
        ("the last 100 ms to 10.0 s", "the last 100 ms to 10 s"),
        ("1.50 GiB", "1.5 GiB"),
        ("0.0500 s", "0.05 s"),
        ("1,000 rows", "1,000 rows"),
    ],
)
def test_what_was_set_has_no_needless_decimals(measured: str, set_: str) -> None:
    assert text.exact(measured) == set_
