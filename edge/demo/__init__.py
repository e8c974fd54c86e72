"""A whole store without hardware: broker, a small HQ, simulated radio and labels, three lanes."""
