"""From a source to pictures in a ring, and to the stream that windows are cut from."""
