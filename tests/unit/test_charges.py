from __future__ import annotations

from voice_server.core.charges import Charges

NOW = 1000.0


def test_a_client_is_charged_with_its_own_sentences_only() -> None:
    charges = Charges(2, 600.0)
    charges.add("a", NOW)
    charges.add("b", NOW)
    assert not charges.are_too_many("a", NOW)
    charges.add("a", NOW + 1.0)
    assert charges.are_too_many("a", NOW + 1.0)
    assert not charges.are_too_many("b", NOW + 1.0)


def test_what_is_long_ago_is_forgiven() -> None:
    charges = Charges(2, 600.0)
    charges.add("a", NOW)
    charges.add("a", NOW + 100.0)
    assert charges.are_too_many("a", NOW + 599.9)
    assert not charges.are_too_many("a", NOW + 600.0)


def test_who_goes_on_killing_is_charged_from_the_last_time_on() -> None:
    charges = Charges(2, 600.0)
    for second in range(10):
        charges.add("a", NOW + second)
    assert charges.are_too_many("a", NOW + 607.9)
    assert not charges.are_too_many("a", NOW + 608.0)


def test_nothing_is_kept_of_clients_that_were_forgiven() -> None:
    charges = Charges(2, 600.0)
    for number in range(1000):
        charges.add(f"client {number}", NOW)
    charges.add("a", NOW + 600.0)
    assert len(charges._at) == 1


def test_nobody_is_never_charged() -> None:
    charges = Charges(1, 600.0)
    charges.add("", NOW)
    assert not charges.are_too_many("", NOW)
