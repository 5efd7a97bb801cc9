"""How many pictures every model gets right in every precision, which answers change, and where the error is made."""
