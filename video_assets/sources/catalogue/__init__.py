"""A Postgres table that says what videos there are, and of each how far it is."""
