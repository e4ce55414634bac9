"""Networks and what they are built of: the only room that defines Flax modules."""
