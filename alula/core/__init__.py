"""What everything stands on: dtypes, dimensions, targets, the preprocessing contract, errors."""
