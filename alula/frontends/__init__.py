"""Foreign models to graphs, one package for each way they come."""
