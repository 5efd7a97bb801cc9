"""What runs inside loops: register tiles, rows, vector mathematics."""
