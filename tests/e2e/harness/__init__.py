"""What the suites share: the real binary, real servers, real readers, and what counts as equal."""
