"""Do all stores give the same answers? Asked before anything is timed, while it is, and after."""

from collections.abc import Mapping, Sequence
from typing import Any

from helpers.comparison.loops import StoreRun
from helpers.comparison.store import Store
from helpers.comparison.workload import LIMIT, Population
from helpers.errors import HelpersError


class Different(HelpersError):
    """Two stores answer the same question differently."""


def compare(
    stores: Sequence[Store], population: Population, *, users: int, orders: int, ordered: bool = True
) -> dict[str, int]:
    """How many questions were asked of every store and answered alike, by kind.

    Asked are the profile, the last activities and the orders of users spread over the whole range, with
    one user, order and product beyond it, who must be missing everywhere.

    Args:
        stores: loaded with the same data.
        population: how many of each there are.
        users: how many users to ask about.
        orders: how many orders and products to ask about.
        ordered: whether activities must come in the same order; after clients have raced each other it
            is that of their arrival in a list, and that of their dates where the store sorts.

    Raises:
        Different: naming the first question that two stores answer differently, and both answers.
        HelpersError: there are no two stores.
    """
    if len(stores) < 2:
        raise HelpersError("there are no two stores to compare: connect to them first, and load them")
    questions: list[tuple[str, tuple[Any, ...]]] = []
    for user in (*_spread(population.users, users), population.users + 1):
        last = (user, LIMIT) if ordered else (user, 10**6)
        questions += [("read_profile", (user,)), ("last_activities", last), ("orders_of_user", (user,))]
    for order in (*_spread(population.orders, orders), 2**31 - 1):
        questions.append(("read_order", (order,)))
    for product in (*_spread(population.products, orders), population.products + 1):
        questions.append(("orders_of_product", (product,)))
    counts: dict[str, int] = {"misses": 0}
    for question, arguments in questions:
        answers = {store.name: getattr(store, question)(*arguments) for store in stores}
        if not ordered and question == "last_activities":
            answers = {name: sorted(answer) for name, answer in answers.items()}
        expect_same(f"{question}{arguments}", answers)
        counts[question] = counts.get(question, 0) + 1
        counts["misses"] += not next(iter(answers.values()))
    return counts


def compare_runs(runs: Mapping[str, StoreRun]) -> int:
    """How many answers kept while timing were the same for every store.

    Raises:
        Different: as ``compare``.
    """
    kept = {name: run.answers for name, run in runs.items()}
    expect_same("number of answers kept", {name: len(answers) for name, answers in kept.items()})
    for number, together in enumerate(zip(*kept.values(), strict=True)):
        expect_same(f"timed read {number + 1}", dict(zip(kept, together, strict=True)))
    return len(next(iter(kept.values()), []))


def expect_same(question: str, answers: Mapping[str, Any]) -> None:
    """Nothing, if all answers are equal.

    Raises:
        Different: they are not.
    """
    (first, expected), *others = answers.items()
    for name, answer in others:
        if answer != expected:
            raise Different(
                f"{question}: {first} answers {_short(expected)} and {name} answers {_short(answer)}; "
                "a comparison of different answers means nothing, so it ends here"
            )


def _spread(last: int, wanted: int) -> list[int]:
    step = max(1, last // max(1, wanted))
    return list(range(1, last + 1, step))


def _short(answer: Any) -> str:
    text = repr(answer)
    return text if len(text) <= 200 else f"{text[:200]}..."
