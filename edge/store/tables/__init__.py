"""Tables that came after the first release, by what they are for. Migrations in `edge/store/schema.py` use them."""
