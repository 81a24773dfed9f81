"""What clips are cut from: the whole frame or a zone of it, each with its frame ring."""
