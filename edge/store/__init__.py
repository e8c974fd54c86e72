"""The store's one SQLite file: the only SQL in the product. A transaction is a function and a function is a transaction."""
