"""Where a model departs from the one that it was made from, and what each op's precision costs."""
