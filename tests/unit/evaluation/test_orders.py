"""The lines that say what was ordered survive a kill at any byte."""

from __future__ import annotations

from pathlib import Path

from lora_pipeline.evaluation.orders import NAME, OrderBook, Ordered

EXPENSE = "01JNAB0000000000000000000D"


def test_what_was_ordered_is_added_up_and_what_was_refused_taken_off(tmp_path: Path) -> None:
    book = OrderBook(tmp_path)
    assert book.read() is None
    book.begin(EXPENSE, "neon_city")
    for cost in (0.03, 0.03, 0.01):
        book.add(cost)
    book.take_back(0.01)
    assert book.read() == Ordered(EXPENSE, "neon_city", 2, 0.06)
    book.begin(EXPENSE, "")
    assert book.read() == Ordered(EXPENSE, "", 0, 0.0)
    book.remove()
    assert book.read() is None


def test_a_line_that_was_cut_off_counts_for_nothing_at_any_byte(tmp_path: Path) -> None:
    book = OrderBook(tmp_path)
    book.begin(EXPENSE, "neon_city")
    book.add(0.03)
    whole = (tmp_path / NAME).read_bytes()
    book.add(0.03)
    longer = (tmp_path / NAME).read_bytes()
    for length in range(len(whole), len(longer)):
        (tmp_path / NAME).write_bytes(longer[:length])
        assert book.read() == Ordered(EXPENSE, "neon_city", 1, 0.03)


def test_pictures_that_nobody_began_to_count_name_no_expense(tmp_path: Path) -> None:
    OrderBook(tmp_path).add(0.5)
    assert OrderBook(tmp_path).read() == Ordered("", "", 1, 0.5)
