"""Whose turn it is."""

from predictions.queue import fair_order


def test_people_take_turns() -> None:
    waiting = [("a1", "alice"), ("a2", "alice"), ("a3", "alice"), ("b1", "bob"), ("c1", "charlie")]

    assert fair_order(waiting) == ["a1", "b1", "c1", "a2", "a3"]


def test_who_is_being_answered_comes_later() -> None:
    waiting = [("a2", "alice"), ("b1", "bob")]

    assert fair_order(waiting, busy=["alice"]) == ["b1", "a2"]


def test_who_had_the_last_turn_comes_later() -> None:
    waiting = [("a2", "alice"), ("b1", "bob"), ("c1", "charlie")]

    assert fair_order(waiting, served=["bob", "alice"]) == ["c1", "b1", "a2"]


def test_one_person_alone_is_served_in_order() -> None:
    assert fair_order([("1", "alice"), ("2", "alice")], busy=["alice", "alice"]) == ["1", "2"]
