"""What the dialog tells of a receipt: numbers by kinds that we know, and how much was read anew."""

from menny.chat.receipts import Receipt
from menny.ui.chat.receipt import FORMAT, reuse_of, shares_of


def test_kinds_are_told_by_our_names_and_the_rest_is_the_format() -> None:
    receipt = Receipt((), 100, sections={"turns": 40, "persona": 30, "<b>": 9, "lore": 0})
    assert shares_of(receipt) == [("Persona", 30), ("Turns", 40), (FORMAT, 30)]
    assert shares_of(Receipt((), 70, sections={"turns": 80})) == [("Turns", 80)]


def test_it_says_how_much_was_read_for_the_reply() -> None:
    assert reuse_of(Receipt((), 1200)) == "1,200 tokens, all read for this reply."
    assert "1,100 of them (92%)" in reuse_of(Receipt((), 1200, cached=1100))
