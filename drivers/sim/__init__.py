"""Simulated radio modules, labels and the world clock they share with the daemon. Shipped: demo, tests and support use them."""
