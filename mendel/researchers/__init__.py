"""Researchers: the seats that a language model may take in the lab, and nothing that it may decide.

A *seat* is a typed question: records go in, a record comes out, and code checks that before anyone believes
it (`seats.py`). A `Desk` (`desk.py`) asks; the *book* (`book.py`) keeps every request with its answer and its
price, finds what was asked before, and stops at the limits. What came from patches and their logs reaches a
seat only as capped, delimited data (`untrusted.py`).

No seat has a say in a verdict. `mendel.campaign.research` calls them; `docs/researchers.md` is for readers.
"""
