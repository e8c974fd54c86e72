"""The reference head office: what it said, what it was told, and the worker that moves both over the broker.

`books`, `sending`, `sharing` and `publishing` decide and are told everything; `db` has the only SQL; `worker` is the shell. The daemon in
the store knows nothing of this package. Described in docs/how-to/run-head-office.md.
"""
