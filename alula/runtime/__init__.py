"""Model file and input buffers to output buffers: session, threads, arena, object cache."""
