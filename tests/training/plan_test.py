"""The steps at which a run evaluates, saves and collects weights."""

from reid_jax.training.plan import Plan


def test_next_stop_ends_at_every_event_and_is_the_same_from_any_stop():
    plan = Plan(total=23, steps_per_epoch=5, per_dispatch=4, eval_every=10, save_every=6)
    stops, step = [], 0
    while step < plan.total:
        step = plan.next_stop(step)
        stops.append(step)
    assert stops == [4, 6, 10, 12, 16, 18, 20, 23]
    assert [s for s in stops if plan.evaluates(s)] == [10, 20, 23]
    assert [s for s in stops if plan.saves(s)] == [6, 10, 12, 18, 20, 23]
