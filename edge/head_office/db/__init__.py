"""Head office's database: one schema as data, two engines behind one seam, and the transactions."""
