"""Whether rates are of the trials and units of the targets: shapes that fit say nothing of that.

Rates of other units of the same number, or of the same in another order, are scored without a word and far
too low. Ids show it where both files have them; else the counts that are scored, whose digests a submission
of this program states.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.evaluation.nlb.fingerprints import is_same_course
from nwb_latents.pipeline.evaluation.nlb.group_sizes import COUNTED, FITTED
from nwb_latents.pipeline.evaluation.nlb.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

IDS = ("train_trials", "eval_trials", "units")
CHANGED = "is_changed"
"""What is stated of rates that are not those the other attributes were written with."""


def identity_problems(
    name: str, stated: Mapping[str, object], targets: Mapping[str, str], *, trust_order: bool
) -> Iterable[Problem]:
    """Yield where a group is of other trials or units than its targets, or nothing shows that it is not.

    Parameters
    ----------
    name
        Name of the group.
    stated
        Attributes of the group, and whether its rates were changed after it was written (`CHANGED`).
    targets
        What the targets are of (`pipeline.evaluation.nlb.group_sizes.identity_of`).
    trust_order
        Whether what nothing shows is taken for granted.

    Examples
    --------
    >>> print(*identity_problems("mine", {}, {"units": "a1"}, trust_order=False))
    mine: nothing shows that its trials and units are those of the targets, in their order: ...
    >>> print(*identity_problems("mine", {"units": "b2"}, {"units": "a1"}, trust_order=True))
    mine: the units are others than those of the targets, or in another order
    """
    same = {
        key: str(stated[key]) == targets[key] for key in (*IDS, *COUNTED) if key in stated and key in targets
    }
    if not all(same.values()):
        yield from _of_others(name, same)
        return
    if trust_order:
        return
    if stated.get(CHANGED):
        text = "its rates were changed after they were written, and nothing shows that trials and units are "
        yield Problem("identity", name, f"{text}in the order they were in; if they are, say --trust-order")
        return
    if FITTED in stated and FITTED in targets and not is_same_course(str(stated[FITTED]), targets[FITTED]):
        text = "the behaviour of its train trials is not that of the targets: other trials, another order or "
        yield Problem("identity", name, f"{text}another lag; if they are the same trials, say --trust-order")
        return
    # Held-out spikes in the window show scored trials and held-out units, held-in ones after it those held
    # in, the behaviour the trials fitted.
    by_ids = all(key in same for key in IDS)
    by_counts = all(key in same for key in COUNTED[:2]) and (FITTED in stated or FITTED not in targets)
    if by_ids or by_counts:
        return
    yield Problem(
        "identity",
        name,
        "nothing shows that its trials and units are those of the targets, in their order: only shapes fit. "
        "`pipeline export nlb-submission` writes what shows it; of rates of another program you can say it "
        "yourself with --trust-order",
    )


def _of_others(name: str, same: Mapping[str, bool]) -> Iterable[Problem]:
    """Yield what ids, or else counts, show to be of other trials or units."""
    for part in ("train", "eval"):
        if not same.get(f"{part}_trials", True):
            text = f"the {part} trials are others than those of the targets, or in another order"
            yield Problem("trials", name, text)
    if not same.get("units", True):
        yield Problem("units", name, "the units are others than those of the targets, or in another order")
    counted = [key for key in COUNTED if not same.get(key, True)]
    if all(same.get(key, True) for key in IDS) and counted:
        text = (
            f"{', '.join(counted)} of the targets are not the spikes it was made for: other "
            "trials, windows or units, or in another order"
        )
        yield Problem("identity", name, text)
