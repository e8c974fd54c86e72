"""Wire protocols as pure state machines: told bytes and time, they never do I/O, sleep or log."""
