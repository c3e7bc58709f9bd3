"""Whose turn it is: nobody waits for ever, whoever else has how much."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from video_assets.sources.upload_scan.turns import in_turn, vehicle_of

FRESH = "2026-01-08"


def order(waiting: dict[str, int], served: tuple[str, str] = ("", "")) -> list[str]:
    return list(in_turn(waiting, FRESH, served))


def test_a_vehicle_with_much_does_not_hold_up_one_with_little() -> None:
    waiting = {f"2026-01-0{n}|veh-1": 0 for n in range(1, 8)} | {"2026-01-02|veh-2": 9, "2026-01-03|veh-3": 9}
    assert {vehicle_of(key) for key in order(waiting)[:3]} == {"veh-1", "veh-2", "veh-3"}


def test_the_turn_goes_on_after_the_vehicle_that_was_served_last() -> None:
    waiting = {f"2026-01-02|veh-{n}": 0 for n in range(5)}
    assert [vehicle_of(key) for key in order(waiting, ("", "veh-2"))] == ["veh-3", "veh-4", "veh-0", "veh-1", "veh-2"]


def test_of_a_vehicle_the_longest_wait_comes_first_and_then_the_latest_day() -> None:
    waiting = {"2026-01-02|a": 5, "2026-01-03|a": 5, "2026-01-01|a": 4}
    assert order(waiting) == ["2026-01-01|a", "2026-01-03|a", "2026-01-02|a"]


def test_fresh_uploads_pass_a_backlog_and_do_not_stop_it() -> None:
    waiting = {f"2026-01-01|veh-{n}": 0 for n in range(50)} | {f"{FRESH}|veh-{n}": 9 for n in range(50)}
    first = order(waiting)[:25]
    assert sum(key.startswith(FRESH) for key in first) == 20


@settings(deadline=None)
@given(st.dictionaries(st.builds("2026-01-{:02}|v{}".format, st.integers(1, 9), st.integers(0, 5)), st.integers(0, 3)))
def test_everyone_gets_a_turn_once(waiting: dict[str, int]) -> None:
    assert sorted(order(waiting)) == sorted(waiting)


@settings(deadline=None)
@given(st.integers(1, 4), st.integers(1, 3))
def test_no_vehicle_starves_while_others_change_all_the_time(room: int, vehicles: int) -> None:
    waiting = {f"{FRESH}|v{n}": 0 for n in range(vehicles)} | {"2026-01-01|late": 0}
    served, seen = ["", ""], set()
    for tick in range(12):
        for key in order(waiting, (served[0], served[1]))[:room]:
            served[key < FRESH] = vehicle_of(key)
            seen.add(vehicle_of(key))
            waiting[key] = tick + 1
    assert len(seen - {"late"}) == vehicles
