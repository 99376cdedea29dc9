"""What the terms of a loss contribute: now, and epoch by epoch."""

from __future__ import annotations

from engine.config.run_keys import RunKey
from engine.journals.events import EpochEnded, Steps
from engine.live.fold_run import fold_run
from engine.live.state import new_run
from tui.widgets.line import width_of
from tui.widgets.plots import curve_names, term_lines


def line(step: int, **losses: float) -> Steps:
    return Steps(
        step=step, epoch=1, steps=1, seconds=0.1, low=0.1, high=0.1, samples=2, loss=0.5, losses=losses, t=1.0 * step, m=1.0 * step,
    )


def test_each_epoch_is_a_point_on_every_terms_curve_and_a_rare_term_counts_where_it_was_computed() -> None:
    run = new_run(RunKey(fold=0, restart=0, seed=1))
    for epoch in (0, 1):
        records = [
            line(4 * epoch + 1, soft_dice=0.4 - epoch * 0.2, skeleton=0.08), line(4 * epoch + 2, soft_dice=0.2),
            line(4 * epoch + 3, soft_dice=float("nan")), EpochEnded(epoch=epoch + 1, step=4 * epoch + 4, steps=4, seconds=1.0, t=9.0, m=9.0),
        ]
        for record in records:
            run = fold_run(run, [record])
    first, second = run.curves["loss/soft_dice"]
    assert (first[0], round(first[1], 6)) == (4, 0.3) and (second[0], round(second[1], 6)) == (8, 0.2)
    assert [round(value, 6) for _, value in run.curves["loss/skeleton"]] == [0.08, 0.08]
    assert curve_names(run) == ["", "loss/skeleton", "loss/soft_dice"]
    assert run.losses.keys() == {"soft_dice", "skeleton"}, "a rare term's last figure stays"


def test_terms_stand_under_the_plot_the_largest_first_as_many_as_fit() -> None:
    terms = {"cl_dice": 0.02, "weighted_bce": 0.144, "soft_dice": 0.143, "a\x1b[31m": 0.01, "skeleton": 0.001}
    lines = term_lines(terms, 36)
    texts = ["".join(text for text, _ in one) for one in lines]
    assert texts[0] == " weighted_bce 0.144 soft_dice 0.143" and texts[1].startswith(" cl_dice 0.02")
    assert len(lines) == 2 and all(width_of(one) <= 36 for one in lines)
    assert "\x1b" not in "".join(texts)
    assert term_lines({}, 36) == []
