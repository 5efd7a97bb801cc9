"""Vision models with random weights, by name: what is measured, and what both ways of importing are tested on."""
