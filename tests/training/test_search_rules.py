"""The rules of a search: starts, tournaments, changes, the end."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from nwb_latents.pipeline.training.search_rules import (
    best_record,
    explored,
    first_values,
    is_standing_still,
    lineage,
    plan_generation,
)
from nwb_latents.schemas.sweep import HyperParameter, MemberRecord, SweepSettings

RATE = HyperParameter(low=1e-4, high=1e-2, scale="log", start=1e-3, explore=0.3)
DROPOUT = HyperParameter(low=0.1, high=0.6, explore=0.8)
SPACE = {"optimiser.lr": RATE, "model.dropout": DROPOUT}


def settings(**changes: Any) -> SweepSettings:
    space = {name: wanted.model_dump() for name, wanted in SPACE.items()}
    return SweepSettings.model_validate(
        {"default_space": False, "space": space, "population": 6, "generation_steps": 10, "burn_in_steps": 0}
        | changes
    )


def generation(number: int, metrics: list[float | None], **values: float) -> list[MemberRecord]:
    chosen = {"optimiser.lr": 1e-3, "model.dropout": 0.3, **values}
    return [
        MemberRecord(
            generation=number,
            member=member,
            parent=member if number else None,
            step=10 * (number + 1),
            metric=metric,
            values={**chosen, "model.dropout": 0.2 + 0.01 * member},
        )
        for member, metric in enumerate(metrics)
    ]


def test_starts_are_fixed_or_drawn_evenly_on_their_scale() -> None:
    drawn = [first_values(SPACE, strategy="random", seed=0, member=m) for m in range(400)]
    rates = np.array([values["optimiser.lr"] for values in drawn])
    shares = np.array([values["model.dropout"] for values in drawn])
    assert ((rates >= 1e-4) & (rates <= 1e-2)).all()
    assert abs((rates < 1e-3).mean() - 0.5) < 0.08
    assert abs((shares < 0.35).mean() - 0.5) < 0.08
    members = [first_values(SPACE, strategy="pbt", seed=0, member=m) for m in range(20)]
    assert {values["optimiser.lr"] for values in members} == {1e-3}
    assert [v["model.dropout"] for v in members] == [v["model.dropout"] for v in drawn[:20]]


def test_a_change_is_within_its_width_and_its_range() -> None:
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(2000):
        changed = explored({"optimiser.lr": 9.5e-3, "model.dropout": 0.3}, SPACE, rng)
        assert 1e-4 <= changed["optimiser.lr"] <= 1e-2
        assert 0.1 <= changed["model.dropout"] <= 0.6
        ratios.append(changed["optimiser.lr"] / 9.5e-3)
    change = np.abs(np.array(ratios) - 1)
    assert change.min() >= 0.002 * (1 - 1e-9)
    assert change.max() <= 0.3 * (1 + 1e-9)
    # Above 9.5e-3 there is little room: what goes beyond is drawn again.
    assert np.mean(np.array(ratios) < 1) > 0.7


def test_the_loser_of_a_tournament_copies_and_changes_the_winner_keeps() -> None:
    sweep = settings()
    history = generation(0, [5.0, 4.0, 3.0, 2.0, 1.0, 6.0])
    plans = plan_generation(sweep, SPACE, history)
    assert [plan.member for plan in plans] == list(range(6))
    assert any(plan.parent != plan.member for plan in plans)
    for plan in plans:
        assert plan.parent is not None
        own, parent = history[plan.member], history[plan.parent]
        if plan.parent == plan.member:
            assert plan.values == own.values
        else:
            assert parent.metric < own.metric  # type: ignore[operator]
            for name, value in plan.values.items():
                width = SPACE[name].explore
                assert 0.002 <= abs(value / parent.values[name] - 1) * (1 + 1e-9) <= width * (1 + 1e-6)
    assert plans[4].parent == 4  # nobody is better
    assert plan_generation(sweep, SPACE, history) == plans


def test_opponents_are_drawn_uniformly_among_the_others() -> None:
    found: Counter[int] = Counter()
    for seed in range(600):
        sweep = settings(train={"model": {"name": "lfads"}, "seed": seed})
        # Member 5 loses against everyone, so it copies whomever it meets.
        plans = plan_generation(sweep, SPACE, generation(0, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
        found[plans[5].parent or 0] += 1
    assert set(found) == {0, 1, 2, 3, 4}
    assert all(80 <= n <= 165 for n in found.values())


def test_nothing_is_copied_in_the_burn_in_unless_training_diverged() -> None:
    sweep = settings(burn_in_steps=11)
    history = generation(0, [5.0, 4.0, None, 2.0, 1.0, 6.0])
    plans = plan_generation(sweep, SPACE, history)
    assert [plan.parent for plan in plans if plan.member != 2] == [0, 1, 3, 4, 5]
    assert plans[2].parent not in {None, 2}
    later = history + generation(1, [5.0, 4.0, 3.0, 2.0, 1.0, 6.0])
    assert any(plan.parent != plan.member for plan in plan_generation(sweep, SPACE, later))


def test_the_default_burn_in_is_the_warm_up_and_one_generation() -> None:
    model = {"name": "lfads", "kl_warmup_steps": 300, "l2_warmup_steps": 500}
    assert settings(burn_in_steps=None, train={"model": model}).first_copy_step == 510


def test_random_search_keeps_what_was_drawn_and_leaves_out_what_diverged() -> None:
    sweep = settings(strategy="random")
    history = generation(0, [5.0, None, 3.0, 2.0, 1.0, 6.0])
    plans = plan_generation(sweep, SPACE, history)
    assert [(plan.member, plan.parent) for plan in plans] == [(m, m) for m in (0, 2, 3, 4, 5)]
    assert [plan.values for plan in plans] == [history[m].values for m in (0, 2, 3, 4, 5)]


@pytest.mark.parametrize(
    ("bests", "stands"),
    [
        ([100.0, 99.0, 98.0, 97.0, 96.0], False),
        ([100.0, 100.0, 99.99, 99.98, 99.96], True),
        ([100.0, 99.0, 99.0, 99.0, 99.0], False),
        ([100.0, 99.0, 99.0, 99.0, 99.0, 99.0], True),
        ([100.0, 100.0, 100.0, 100.0], False),
        ([-50.0, -50.5, -51.0, -51.5, -52.0], False),
        ([-50.0, -50.0, -50.0, -50.0, -50.01], True),
    ],
)
def test_it_ends_where_the_best_has_not_improved_in_four_generations(
    bests: list[float], *, stands: bool
) -> None:
    history = [r for g, best in enumerate(bests) for r in generation(g, [best + 3, best, None])]
    assert is_standing_still(settings(), history) is stands
    assert not is_standing_still(settings(strategy="random"), history)
    assert not is_standing_still(settings(burn_in_steps=10 * len(bests)), history)


def test_the_best_is_of_any_generation_and_its_lineage_goes_back_through_copies() -> None:
    history = generation(0, [3.0, 2.0]) + generation(1, [1.0, 2.0]) + generation(2, [1.5, None])
    history[2] = history[2].model_copy(update={"parent": 1})
    best = best_record(history)
    assert (best.generation, best.member) == (1, 0)
    assert [(r.generation, r.member) for r in lineage(history, best)] == [(0, 1), (1, 0)]
    with pytest.raises(ValueError, match="diverged"):
        best_record(generation(0, [None, None]))


def test_a_whole_search_is_a_function_of_its_seed() -> None:
    def searched(seed: int) -> list[MemberRecord]:
        sweep = settings(train={"model": {"name": "lfads"}, "seed": seed})
        history: list[MemberRecord] = []
        for number in range(8):
            for plan in plan_generation(sweep, SPACE, tuple(history)):
                loss = abs(math.log(plan.values["optimiser.lr"] / 4e-3)) + plan.values["model.dropout"]
                history.append(
                    MemberRecord(
                        generation=number, member=plan.member, parent=plan.parent, step=10 * (number + 1),
                        metric=loss, values=plan.values,
                    )
                )  # fmt: skip
        return history

    assert searched(0) == searched(0)
    assert searched(0) != searched(1)
    first, last = best_record(searched(0)[:6]), best_record(searched(0))
    assert last.metric < first.metric  # type: ignore[operator]
