"""Pictures: decoding, the preprocessing contract, folders with labels, streams of batches, accuracy."""
